// Keeps the node's endpoints those of its interface, where they were found and
// not typed: an address that a lease exchanged is in the record, and published,
// with the next look.
import { nextEndpoints } from "../plan/transport.ts";
import { readSettings } from "../reconcile/node.ts";
import type { Session } from "../reconcile/session.ts";
import { observeTransport } from "../reconcile/transport.ts";

/**
 * True where the stored endpoints were exchanged for what is there now, and node
 * IPs that were not typed with them. Where nothing fits, which an interface that
 * is being configured shows for a moment, the last ones stay, and `onProblem` is
 * told why. Throws StoreError, NetlinkError, SysError.
 */
export function followTransport(
  { store, kernel }: Session,
  onProblem: (sentence: string) => void = () => {},
): boolean {
  if (store.identity()?.endpointsFound !== true) return false;
  const found = observeTransport(readSettings(store), kernel);
  if ("problem" in found) {
    onProblem(`The endpoints of this node stay as they were: ${found.problem}.`);
    return false;
  }
  return store.transaction(() => {
    // Read again: somebody may have typed others meanwhile.
    const identity = store.identity();
    const endpoints = identity === undefined ? undefined : nextEndpoints(identity, found);
    if (identity === undefined || endpoints === undefined) return false;
    const nodeIPs = identity.nodeIPsFollow ? endpoints : identity.nodeIPs;
    store.putIdentity({ ...identity, endpoints, nodeIPs });
    return true;
  });
}
