// Judges the agent of a node as `status` and `doctor` see it, for both alike. Pure.
import type { Settings } from "../settings/settings.ts";
import type { PortGap } from "./port-evidence.ts";

/** The answer of an agent that is asked about itself. */
export interface AgentReport {
  /** Unix milliseconds. */
  readonly startedAtMs: number;
  /** Unix milliseconds of the end of the last reconcile pass; absent before the first. */
  readonly lastPassAtMs?: number;
  /** A sentence that says why the agent is not ready; absent if it is. */
  readonly problem?: string;
  /** Ports on which pairs of this node with a peer are not known to work; absent if there are none. */
  readonly portGaps?: readonly PortGap[];
}

export interface AgentStatus extends Partial<AgentReport> {
  /** "unanswering": it runs, and nothing comes back that could be understood. */
  readonly state: "running" | "absent" | "unanswering";
}

export interface AgentNeeds {
  /** True if an agent has decided how peers are reached: the routes wait for its next decision. */
  readonly isGated: boolean;
  readonly settings: Settings;
  /** Settings that were set explicitly, without the defaults. */
  readonly overrides: Readonly<Record<string, unknown>>;
}

/** Lists the settings that do nothing without an agent. */
export function listDependents({ settings, overrides }: Omit<AgentNeeds, "isGated">): string[] {
  return [
    ...(settings.hostEncryption ? ["hostEncryption"] : []),
    ...(settings.recordsDir === "" ? [] : ["recordsDir"]),
    ...(settings.kubeconfig === "" ? [] : ["kubeconfig"]),
    ...(overrides["keyRotation"] === undefined || settings.keyRotation === 0 ? [] : ["keyRotation"]),
  ];
}

/** True if no agent runs on a node whose routes or settings need one. */
export function isAgentMissed({ state }: AgentStatus, needs: AgentNeeds): boolean {
  return state === "absent" && (needs.isGated || listDependents(needs).length > 0);
}

/** False if an operator must do something about the agent. */
export function isAgentWell(agent: AgentStatus, needs: AgentNeeds): boolean {
  return agent.state !== "unanswering" && agent.problem === undefined && !isAgentMissed(agent, needs);
}
