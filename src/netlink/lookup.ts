// Looks up the routes to many addresses: `ip route get fibmatch` for each, some hundred in a system call.
// It asks for the configured route, not for that of the cache: ICMP messages about a path are
// unauthenticated, and expire.
import { errnoCode } from "../linux/errno.ts";
import { familyBits, familyOf } from "../net/ip.ts";
import type { RouteLookup, RouteType } from "../net/objects.ts";
import { addressFamily } from "../wire/codec.ts";
import {
  nexthops,
  RTM_F_FIB_MATCH,
  RTM_GETROUTE,
  RTNH_F_DEAD,
  RTNH_F_LINKDOWN,
  routeMessage,
} from "../wire/route.ts";
import type { LinkNames } from "./names.ts";
import { toRouteType } from "./objects.ts";
import type { NetlinkSocket, Request } from "./socket.ts";

/** A packet that is looked up. */
export interface LookupQuery {
  readonly dst: string;
  readonly mark: number;
  /** The address that this node sends from; absent if the kernel chooses it, and of a packet that arrives. */
  readonly from?: string;
  /** Present for a packet that arrives and is forwarded; absent for one that this node sends. */
  readonly arrival?: { readonly src: string; readonly dev: string };
}

/**
 * One entry a packet, in order. A packet that arrives by an interface that is not there is answered with
 * ENODEV, one that the reverse-path filter drops with EXDEV
 * (EINVAL since Linux 6.14). Throws SysError, DecodeError.
 */
export function lookUpRoutes(
  socket: NetlinkSocket,
  names: LinkNames,
  queries: readonly LookupQuery[],
): RouteLookup[] {
  const dsts = queries.map(({ dst }) => dst);
  const indexes = new Map(
    [...new Set(queries.flatMap(({ arrival }) => arrival?.dev ?? []))].map((dev) => [
      dev,
      names.findIndex(dev),
    ]),
  );
  const found = new Array<Found | undefined>(dsts.length);
  const errnos = socket.query(
    queries.map((query) => lookUpRequest(query, indexes.get(query.arrival?.dev ?? ""))),
    (index, bytes, at, end) => {
      const { rtm_type, rtm_dst_len, rtm_flags, RTA_OIF, RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH, RTA_METRICS } =
        routeMessage.read(bytes, at, end, "skip");
      const interfaces =
        RTA_MULTIPATH === undefined ? RTA_OIF : nexthops(RTA_MULTIPATH).map((hop) => hop.interfaceIndex);
      found[index] = {
        ...{ type: toRouteType(rtm_type), interfaces, mtu: RTA_METRICS?.RTAX_MTU },
        hasGateway: RTA_GATEWAY !== undefined || RTA_VIA !== undefined,
        isForOne: rtm_dst_len === familyBits(familyOf(dsts[index] as string)),
        isDead: (rtm_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) !== 0,
      };
    },
  );
  // The names come last: asking for one is another conversation on the same socket.
  const devsOf = namesOf(names);
  return dsts.map((dst, i) => {
    const answer = found[i];
    if (answer === undefined) return { dst, devs: [], error: errnoCode(errnos[i] as number) };
    const { type, interfaces, mtu, hasGateway, isForOne, isDead } = answer;
    return {
      ...{ dst, type, devs: devsOf(interfaces) },
      ...(hasGateway ? { hasGateway } : {}),
      ...(isForOne ? { isForOne } : {}),
      ...(isDead ? { isDead } : {}),
      ...(mtu === undefined ? {} : { mtu }),
    };
  });
}

interface Found {
  readonly type: RouteType;
  /** The interfaces; several if the route has several next hops. */
  readonly interfaces: number | readonly number[] | undefined;
  readonly mtu: number | undefined;
  readonly hasGateway: boolean;
  readonly isForOne: boolean;
  readonly isDead: boolean;
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

/** The kernel has no interface with this index (ENODEV). */
const noInterface = 0x7fff_ffff;

function lookUpRequest({ dst, mark, from, arrival }: LookupQuery, index: number | undefined): Request {
  const family = familyOf(dst);
  const src = arrival?.src ?? from;
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
        ...(src === undefined ? {} : { rtm_src_len: familyBits(family), RTA_SRC: src }),
        ...(arrival === undefined ? {} : { RTA_IIF: index ?? noInterface }),
      }),
  };
}
