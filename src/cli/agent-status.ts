// The agent of this node, as far as it can be asked.
import type { AgentReport } from "../telemetry/health.ts";
import { askAgent } from "./ask-agent.ts";

export interface AgentStatus extends Partial<AgentReport> {
  /** "unanswering": it runs, and nothing comes back. */
  readonly state: "running" | "absent" | "unanswering";
  /** True if the node's routes wait for an agent's decisions, so that one should run. */
  readonly isMissed: boolean;
}

/** An agent answers between two steps of a pass; a pass over thousands of peers takes a second. */
const timeoutMs = 3000;

/** `isGated`: an agent has decided how peers are reached. */
export async function observeAgent(stateDir: string, isGated: boolean): Promise<AgentStatus> {
  const answer = await askAgent(stateDir, "/agent", timeoutMs);
  if ("fault" in answer)
    return answer.fault === "absent"
      ? { state: "absent", isMissed: isGated }
      : { state: "unanswering", isMissed: false, problem: answer.text };
  // Agents from before this page answer 404.
  const report = answer.ok ? (JSON.parse(answer.body) as AgentReport) : {};
  return { state: "running", isMissed: false, ...report };
}

/** False if an operator must do something about it. */
export function isAgentWell({ state, isMissed, problem }: AgentStatus): boolean {
  return state !== "unanswering" && !isMissed && problem === undefined;
}
