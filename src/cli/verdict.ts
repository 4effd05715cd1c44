// The verdict of `status`: its exit code is 3 if something that was requested is not the case. `doctor` fails
// for each of these reasons too, and for some of its own that `status` does not look at.
import { isWell, type PeerStatus } from "../plan/report/peer-status.ts";
import type { MeshPlan } from "../reconcile/mesh-plan.ts";
import { areAllFaulty } from "../reconcile/slots.ts";

export interface NodeVerdictFacts {
  readonly plan: MeshPlan;
  readonly peers: readonly PeerStatus[];
  /** True if the kernel has nftables. */
  readonly hasFirewall: boolean;
  readonly isAgentWell: boolean;
}

/** A slot that another program occupies is no fault as long as the other one carries the traffic. */
export function isAsItShouldBe({ plan, peers, hasFirewall, isAgentWell }: NodeVerdictFacts): boolean {
  const { up, steps, faults, settings, hostEncryption } = plan;
  return (
    up &&
    steps.length === 0 &&
    ![...faults.values()].some(({ kind }) => kind === "failure") &&
    !areAllFaulty(faults) &&
    (settings.mode !== "strict" || hasFirewall) &&
    (hostEncryption.state === "off" || hostEncryption.state === "on") &&
    isAgentWell &&
    peers.every((peer) => isWell(peer, settings.mode))
  );
}
