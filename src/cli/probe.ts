// `probe` asks the agent of this node by its own socket, for the probes of a container and for people.
import { askAgent } from "./ask-agent.ts";
import { type Context, type Output, UsageError } from "./command.ts";

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
  const answer = await askAgent(stateDir, pages[what], timeoutMs);
  if ("body" in answer) return { ok: answer.ok, text: answer.body.trim() };
  // An agent that could not make its socket is alive, and no restart helps.
  return { ok: answer.fault === "unreachable" && what === "live", text: answer.text };
}
