// Decides if host encryption of this node is on, lists the exemptions from it, and describes its state.
// Pure.
import { type Exemption, formatExemption } from "../../net/exemption.ts";
import type { Settings } from "../settings/settings.ts";

/** "needs-agent" and "needs-nftables": it was requested, but the agent or nftables is missing. */
export const hostEncryptionStates = ["off", "on", "reverted", "needs-agent", "needs-nftables"] as const;
export type HostEncryption = (typeof hostEncryptionStates)[number];

export interface HostEncryptionFacts {
  readonly settings: Settings;
  /** True once an agent decides: only an agent can take host encryption back if it cuts the node off. */
  readonly gated: boolean;
  /** Only nftables can keep exempt traffic outside the tunnel. */
  readonly hasFirewall: boolean;
  readonly revert?: HostRevertNote;
}

/** The reason and the time at which it was taken back, as the store has it. */
export interface HostRevertNote {
  /** Unix milliseconds. */
  readonly atMs: number;
  readonly reason: string;
  /** True if it was not the cause, and returns once the control plane answers. */
  readonly untilAnswer?: true;
}

export interface HostEncryptionReport {
  readonly state: HostEncryption;
  /** The state and its reason, as part of a sentence. */
  readonly text: string;
  /** Sentences for the operator. */
  readonly warning?: string;
}

export function hostEncryptionOf({
  settings,
  gated,
  hasFirewall,
  revert,
}: HostEncryptionFacts): HostEncryption {
  if (!settings.hostEncryption) return "off";
  if (!hasFirewall) return "needs-nftables";
  if (!gated) return "needs-agent";
  return revert === undefined ? "on" : "reverted";
}

/** Returns the traffic that stays outside: the configured exemptions, and the control plane. */
export function exemptionsOf({ hostEncryptionExempt, controlPlane }: Settings): Exemption[] {
  return [
    ...hostEncryptionExempt,
    ...controlPlane.map((ipPort) => ({ kind: "service" as const, ...ipPort })),
  ];
}

export function describeHostEncryption(facts: HostEncryptionFacts): HostEncryptionReport {
  const { settings, revert } = facts;
  const state = hostEncryptionOf(facts);
  const outside = exemptionsOf(settings).map(formatExemption).join(", ");
  switch (state) {
    case "off":
      return { state, text: "off: the nodes themselves reach each other in plaintext" };
    case "on":
      return {
        ...{ state, text: `on, ${outside === "" ? "nothing is exempt" : `but for ${outside}`}` },
        ...(settings.controlPlane.length > 0 ? {} : { warning: noDeadMan }),
      };
    case "reverted":
      return {
        state,
        text: `taken back at ${new Date(revert?.atMs ?? 0).toISOString()}: ${revert?.reason}`,
        warning: revert?.untilAnswer
          ? "host encryption was not the cause: it returns when the control plane answers"
          : "host encryption stays off until `wg-cni up --host-encryption on` tries it again",
      };
    case "needs-agent":
      return {
        state,
        text: "wanted, but it needs the agent",
        warning: "host encryption begins when `wg-cni agent` runs: only that can take it back",
      };
    case "needs-nftables":
      return {
        state,
        text: "wanted, but it needs nftables",
        warning: "the kernel has no nftables (nf_tables): nothing could keep the control plane outside",
      };
  }
}

const noDeadMan =
  "without --control-plane IP:PORT nothing takes host encryption back if it cuts this node off";
