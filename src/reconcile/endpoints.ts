// Finds the addresses of this host that peers could send to. plan/host/endpoints.ts chooses among them.
import { findUplinks } from "../netlink/uplinks.ts";
import { findTransport, type NoTransport, nextEndpoints, type Transport } from "../plan/host/endpoints.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Kernel } from "./kernel.ts";
import { readSettings } from "./node-reader.ts";
import type { Session } from "./session.ts";

export function observeTransport(settings: Settings, { host }: Kernel): Transport | NoTransport {
  return findTransport({
    settings,
    links: host.links().map(({ name }) => name),
    addresses: host.addresses(),
    uplinks: findUplinks(host),
  });
}

/**
 * Replaces the stored endpoints by the present ones, and node IPs that were not typed with them; returns
 * true if they have changed. If no address fits, as on an interface that is being configured, the last
 * ones stay, and `onProblem` gets the reason. Throws StoreError, NetlinkError, SysError.
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
    // The identity is read again: an operator may have set other endpoints meanwhile.
    const identity = store.identity();
    const endpoints = identity === undefined ? undefined : nextEndpoints(identity, found);
    if (identity === undefined || endpoints === undefined) return false;
    const nodeIPs = identity.nodeIPsFollow ? endpoints : identity.nodeIPs;
    store.putIdentity({ ...identity, endpoints, nodeIPs });
    return true;
  });
}
