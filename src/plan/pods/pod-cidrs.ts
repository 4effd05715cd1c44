// Finds pod CIDRs of this node that contain addresses of hosts: the gateway, the control plane, the nodes of
// a whole subnet. peers/claim-bounds.ts judges those of the peers. Pure.
import { findHeld, type Landmark } from "../peers/landmarks.ts";

/** Returns a sentence for each CIDR of one node that contains an address that is no pod's. */
export function refusePodCIDRs(podCIDRs: readonly string[], landmarks: readonly Landmark[]): string[] {
  return podCIDRs.filter(isNetwork).flatMap((cidr) => {
    const held = findHeld(cidr, landmarks);
    if (held === undefined) return [];
    return [`pod CIDR ${cidr} holds ${held.ip}, which is ${held.whose}, and so is no network of pods alone`];
  });
}

/** A pod may have one address of the nodes' network. */
function isNetwork(cidr: string): boolean {
  return !cidr.endsWith(cidr.includes(":") ? "/128" : "/32");
}
