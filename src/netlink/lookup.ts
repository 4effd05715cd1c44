// Looks up the routes to many addresses: `ip route get fibmatch` for each, some hundred in a system call.
// It asks for the configured route, not for that of the cache: ICMP messages about a path are
// unauthenticated, and expire.
import { errnoCode } from "../linux/errno.ts";
import { familyBits, familyOf } from "../net/ip.ts";
import type { RouteLookup, RouteType } from "../net/objects.ts";
import { addressFamily } from "../wire/codec.ts";
import { nexthops, RTM_F_FIB_MATCH, RTM_GETROUTE, routeMessage } from "../wire/route.ts";
import type { LinkNames } from "./names.ts";
import { toRouteType } from "./objects.ts";
import type { NetlinkSocket, Request } from "./socket.ts";

/** One entry an address, in order. Throws SysError, DecodeError. */
export function lookUpRoutes(
  socket: NetlinkSocket,
  names: LinkNames,
  dsts: readonly string[],
  mark: number,
): RouteLookup[] {
  const found = new Array<Found | undefined>(dsts.length);
  const errnos = socket.query(
    dsts.map((dst) => lookUpRequest(dst, mark)),
    (index, bytes, at, end) => {
      const { rtm_type, RTA_OIF, RTA_MULTIPATH, RTA_METRICS } = routeMessage.read(bytes, at, end, "skip");
      const interfaces =
        RTA_MULTIPATH === undefined ? RTA_OIF : nexthops(RTA_MULTIPATH).map((hop) => hop.interfaceIndex);
      found[index] = { type: toRouteType(rtm_type), interfaces, mtu: RTA_METRICS?.RTAX_MTU };
    },
  );
  // The names come last: asking for one is another conversation on the same socket.
  const devsOf = namesOf(names);
  return dsts.map((dst, i) => {
    const answer = found[i];
    if (answer === undefined) return { dst, devs: [], error: errnoCode(errnos[i] as number) };
    const { type, interfaces, mtu } = answer;
    const devs = devsOf(interfaces);
    return mtu === undefined ? { dst, type, devs } : { dst, type, devs, mtu };
  });
}

interface Found {
  readonly type: RouteType;
  /** The interfaces; several if the route has several next hops. */
  readonly interfaces: number | readonly number[] | undefined;
  readonly mtu: number | undefined;
}

/** Thousands of answers name a handful of interfaces: each of these is one list, made once. */
function namesOf(names: LinkNames): (interfaces: Found["interfaces"]) => readonly string[] {
  const known = new Map<number, readonly string[]>();
  const one = (index: number) => {
    const name = known.get(index);
    if (name !== undefined) return name;
    const found = names.findName(index);
    const list = found === undefined ? [] : [found];
    known.set(index, list);
    return list;
  };
  return (interfaces = []) =>
    typeof interfaces === "number" ? one(interfaces) : [...new Set(interfaces.flatMap(one))];
}

function lookUpRequest(dst: string, mark: number): Request {
  const family = familyOf(dst);
  return {
    type: RTM_GETROUTE,
    flags: 0,
    describe: () => `find the route to ${dst}`,
    write: (to) =>
      routeMessage.write(to, {
        rtm_family: addressFamily(family),
        rtm_dst_len: familyBits(family),
        rtm_flags: RTM_F_FIB_MATCH,
        RTA_DST: dst,
        RTA_MARK: mark,
      }),
  };
}
