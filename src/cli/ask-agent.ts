// Asks the agent of this node by its own socket. The port of the metrics may be another program's: an
// answer from there says nothing of the agent.
import { SysError } from "../linux/syscall.ts";
import { attempt, messageOf } from "../net/error.ts";
import { agentSocket } from "../telemetry/http.ts";
import { isAgentThere } from "./session.ts";

export type AgentAnswer =
  | { readonly ok: boolean; readonly body: string }
  | {
      /** "absent": no agent runs. "unreachable": one runs and has no socket. "silent": it does not answer. */
      readonly fault: "absent" | "unreachable" | "silent";
      /** A sentence. */
      readonly text: string;
    };

/** The answer to a request for a page, after `timeoutMs` milliseconds at most. */
export async function askAgent(stateDir: string, page: string, timeoutMs: number): Promise<AgentAnswer> {
  const path = agentSocket(stateDir);
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await fetch(`http://agent${page}`, { unix: path, signal });
    return { ok: answer.ok, body: await answer.text() };
  } catch (error) {
    const why = messageOf(error);
    if (error instanceof Error && error.name === "TimeoutError")
      return {
        fault: "silent",
        text: `The agent does not answer at ${path} within ${timeoutMs / 1000} s.`,
      };
    if (
      attempt(
        SysError,
        () => isAgentThere(stateDir),
        () => true,
      )
    )
      return { fault: "unreachable", text: `An agent runs, but cannot be asked at ${path}: ${why}` };
    return {
      fault: "absent",
      text: `No agent has the store ${stateDir}: start its service, or run \`wg-cni agent\`.`,
    };
  }
}
