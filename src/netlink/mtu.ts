// Changes the MTU of a foreign route, and nothing else of it:
// the kernel's own message goes back to it, with all of its attributes, also those
// that we do not know.
import { Errno } from "../linux/errno.ts";
import type { Route } from "../net/objects.ts";
import { readU16, readU32 } from "../wire/codec.ts";
import { nexthopHeaderBytes, RTNH_F_ONLINK } from "../wire/route.ts";
import { describeRoute } from "./describe.ts";
import { NetlinkError } from "./error.ts";
import type { RouteReply, Rtnl } from "./rtnl.ts";

const mainTable = 254;
/** RTA_CACHEINFO counts in clock ticks to user space (USER_HZ). */
const ticksPerSecond = 100;
/** struct rta_cacheinfo has two numbers before its ticks, which are not used here. */
const expiresOffset = 8;

/** The most routes of one family: a pod's own processes decide how many it has. A pod with more has made them itself. */
const maxRoutes = 1024;

/** The first routes of the main table out of `dev`, of both families. Throws NetlinkError, SysError. */
export function readMainRoutes(rtnl: Rtnl, dev: string): Route[] {
  return ([4, 6] as const).flatMap((family) =>
    rtnl.routes({ family, table: mainTable, dev, limit: maxRoutes }),
  );
}

/** A route as `readMainRoutes` shows it, and the mtu metric that it is to have; undefined for none. */
export interface MtuChange {
  readonly route: Route;
  readonly mtu: number | undefined;
}

/**
 * Sets or removes the mtu metrics of routes out of one interface, which are read once for all of
 * them. One entry a change: undefined if it was done, else the error; ESRCH if there is no such
 * route. Throws NetlinkError, SysError if the routes cannot be read.
 */
export function replaceRouteMtus(rtnl: Rtnl, changes: readonly MtuChange[]): (NetlinkError | undefined)[] {
  const dev = changes[0]?.route.dev;
  const families = new Set(changes.map(({ route }) => route.family));
  const filter = { table: mainTable, limit: maxRoutes, ...(dev === undefined ? {} : { dev }) };
  const present = [...families].flatMap((family) => rtnl.routeReplies({ family, ...filter }));
  const batch = rtnl.batch();
  const sent: number[] = [];
  const outcomes = changes.map(({ route, mtu }, i): NetlinkError | undefined => {
    const found = present.find((candidate) => isSame(candidate.route, route));
    if (found === undefined)
      return new NetlinkError(`change the MTU of ${describeRoute(route)}`, Errno.ESRCH);
    batch.replaceRouteMessage(route, withMtu(found.reply, mtu));
    sent.push(i);
    return undefined;
  });
  batch.send().forEach((error, i) => {
    outcomes[sent[i] as number] = error;
  });
  return outcomes;
}

/** The same route, whatever its metrics. */
function isSame(a: Route, b: Route): boolean {
  return (
    a.dst === b.dst &&
    a.type === b.type &&
    a.dev === b.dev &&
    a.via === b.via &&
    a.src === b.src &&
    a.priority === b.priority &&
    a.protocol === b.protocol
  );
}

/** The message with another MTU, and without what the kernel reports but does not accept. */
export function withMtu(reply: RouteReply, mtu: number | undefined): RouteReply {
  const message = { ...reply };
  message.RTA_METRICS = { ...reply.RTA_METRICS, RTAX_MTU: mtu };
  if (isEmpty(message.RTA_METRICS)) message.RTA_METRICS = undefined;
  // The rest are states: dead, link down, offloaded.
  message.rtm_flags &= RTNH_F_ONLINK;
  if (reply.RTA_MULTIPATH !== undefined) message.RTA_MULTIPATH = withoutStates(reply.RTA_MULTIPATH);
  const expires = expiresSeconds(reply);
  if (expires > 0) message.RTA_EXPIRES = expires;
  message.RTA_CACHEINFO = undefined;
  if (reply.RTA_NH_ID === undefined) return message;
  // A route to a nexthop object is shown with the object's content, but must not be made with it.
  return {
    ...message,
    RTA_OIF: undefined,
    RTA_GATEWAY: undefined,
    RTA_VIA: undefined,
    RTA_MULTIPATH: undefined,
    RTA_ENCAP: undefined,
    RTA_ENCAP_TYPE: undefined,
  };
}

function isEmpty(metrics: NonNullable<RouteReply["RTA_METRICS"]>): boolean {
  return Object.values(metrics).every((value) => value === undefined);
}

/** Seconds that an IPv6 route from a router advertisement still has; 0: for ever. */
function expiresSeconds({ RTA_CACHEINFO }: RouteReply): number {
  if (RTA_CACHEINFO === undefined || RTA_CACHEINFO.length < expiresOffset + 4) return 0;
  return Math.ceil((readU32(RTA_CACHEINFO, expiresOffset) | 0) / ticksPerSecond);
}

function withoutStates(nexthops: Uint8Array): Uint8Array {
  const copy = nexthops.slice();
  for (let at = 0; at + nexthopHeaderBytes <= copy.length; ) {
    copy[at + 2] = (copy[at + 2] as number) & RTNH_F_ONLINK;
    at += Math.max(nexthopHeaderBytes, (readU16(copy, at) + 3) & ~3);
  }
  return copy;
}
