// `probe` asks the agent of this node by its own socket, for the probes of a container and for
// people. Another program may have the metrics port, so an answer there, or none, says nothing about
// the agent.
import { messageOf } from "../net/error.ts";
import { agentSocket } from "../telemetry/http.ts";
import { type Context, type Output, UsageError } from "./command.ts";
import { isAgentThere } from "./session.ts";

const pages = { live: "/healthz", ready: "/readyz" } as const;

/** A kubelet waits 5 s in the manifests. */
const timeoutMs = 4000;
const notSo = 3;

export async function probe({ given, stateDir }: Context): Promise<Output> {
  const [what] = given.positional;
  if (what !== "live" && what !== "ready")
    throw new UsageError(`probe: "${what ?? ""}" is not one of live, ready`);
  const { ok, text } = await ask(stateDir, what);
  return { json: { ok, text }, text: () => `${text}\n`, exitCode: ok ? 0 : notSo };
}

async function ask(stateDir: string, what: "live" | "ready"): Promise<{ ok: boolean; text: string }> {
  const path = agentSocket(stateDir);
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await fetch(`http://agent${pages[what]}`, { unix: path, signal });
    return { ok: answer.ok, text: (await answer.text()).trim() };
  } catch (error) {
    const why = messageOf(error);
    if (error instanceof Error && error.name === "TimeoutError")
      return { ok: false, text: `The agent does not answer at ${path} within ${timeoutMs / 1000} s.` };
    // An agent that could not make its socket is alive, and no restart helps.
    if (isAgentThere(stateDir))
      return { ok: what === "live", text: `An agent runs, but cannot be asked at ${path}: ${why}` };
    return {
      ok: false,
      text: `No agent has the store ${stateDir}: start its service, or run \`wg-cni agent\`.`,
    };
  }
}
