// Where pods have addresses of the network and not of a CIDR of the node's (AKS,
// EKS), what the node announces follows the pods that its plugin has attached.
import { aggregateIps } from "../kube/aggregate.ts";
import type { Settings } from "../plan/settings.ts";
import type { Store } from "../state/store.ts";

/** True where the identity's pod CIDRs were exchanged. Throws StoreError. */
export function followPods(store: Store, { podAddresses }: Settings): boolean {
  if (podAddresses !== "pods" || !arePodsNew(store)) return false;
  return store.transaction(() => {
    const identity = store.identity();
    if (identity === undefined) return false;
    store.putIdentity({ ...identity, podCIDRs: podCIDRsOf(store) });
    return true;
  });
}

/** True where the node announces other pods than it has. Throws StoreError. */
export function arePodsNew(store: Store): boolean {
  const identity = store.identity();
  return identity !== undefined && JSON.stringify(identity.podCIDRs) !== JSON.stringify(podCIDRsOf(store));
}

function podCIDRsOf(store: Store): string[] {
  return aggregateIps(store.attachments().flatMap(({ ips }) => ips));
}
