// Observes the agent of this node, as far as it can be asked.
import { attempt } from "../net/error.ts";
import type { AgentReport, AgentStatus } from "../plan/report/agent-status.ts";
import { askAgent } from "./ask-agent.ts";

/** An agent answers between two steps of a pass; a pass over thousands of peers takes a second. */
const timeoutMs = 3000;

export async function observeAgent(stateDir: string): Promise<AgentStatus> {
  const answer = await askAgent(stateDir, "/agent", timeoutMs);
  if ("fault" in answer)
    return answer.fault === "absent" ? { state: "absent" } : { state: "unanswering", problem: answer.text };
  // Agents from before this page answer 404.
  if (!answer.ok) return { state: "running" };
  const report = attempt(
    SyntaxError,
    () => JSON.parse(answer.body) as AgentReport,
    () => undefined,
  );
  if (report !== undefined) return { state: "running", ...report };
  return {
    state: "unanswering",
    problem: "The agent's answer is no report: another program answers for it.",
  };
}
