// Finds out whether something uses an address on this node. The embedded IPAM asks before it gives an
// address, because the kernel knows of pods that the store may have lost.
import type { Rtnl } from "./rtnl.ts";

/**
 * True if the node has the address itself or a route for it alone, as for each pod that we made, or a
 * neighbour that has it. Throws NetlinkError, SysError, DecodeError.
 */
export function isInUse(rtnl: Rtnl, ip: string): boolean {
  const [route] = rtnl.lookUpRoutes([ip], 0);
  return route?.type === "local" || route?.isForOne === true || rtnl.hasNeighbour(ip);
}
