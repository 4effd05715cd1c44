// Checks that time is an argument: only the files at the edges, where a process or a call begins or
// a bound on an effect is kept, read a clock. Everything else can be tested with any time.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The files that read a clock, with the purpose. */
const edges: Readonly<Record<string, string>> = {
  "agent/clock.ts": "the agent's two clocks",
  "agent/loop.ts": "the spacing of passes",
  "agent/pass-context.ts": "the clock that the agent's parts are given",
  "agent/sync-mesh.ts": "the duration of a sync",
  "agent/record-sync.ts": "the clock that the sources are given",
  "agent/control-plane.ts": "the time of a connection attempt",
  "cli/agent.ts": "the time of a log line",
  "cli/leave.ts": "a bound on waiting",
  "cli/plugin-server.ts": "the clock that the server is given",
  "cli/run.ts": "the time of a command",
  "cli/userspace.ts": "the pauses between starts, and the time of a log line",
  "cni/log.ts": "the time of a log line",
  "cni/main.ts": "the time of a sync",
  "cni/publish-wait.ts": "a bound on waiting",
  "cni/verbs/addresses.ts": "when an attachment was made",
  "cni/verbs/chained.ts": "when an attachment was made",
  "install/install.ts": "a bound on waiting",
  "kubeclient/reflector.ts": "the age of a watch",
  "linux/clock.ts": "the host's clock",
  "linux/lock.ts": "a bound on waiting",
  "main.ts": "the age of the process, and the time of its request",
  "reconcile/pods.ts": "a bound on one turn",
  "telemetry/http.ts": "the spacing of log lines",
  "telemetry/http-listener.ts": "connections a second",
  "telemetry/log.ts": "the budget of log lines",
  "wireguard/start.ts": "a bound on waiting",
};

const reads = /\b(?:Date\.now|performance\.now|Bun\.nanoseconds)\(\)|\bnew Date\(\)|\bhostMonotonicMs\b/;

/** Returns the complaints about the sources under `root`/src, sorted; the list is empty if there are none. */
export function checkClocks(root: string): string[] {
  const complaints: string[] = [];
  for (const file of new Bun.Glob("**/*.ts").scanSync(join(root, "src"))) {
    const code = readFileSync(join(root, "src", file), "utf8").replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    const isEdge = edges[file] !== undefined;
    if (reads.test(code) && !isEdge)
      complaints.push(`src/${file}: reads a clock; take the time as an argument`);
    if (!reads.test(code) && isEdge)
      complaints.push(`src/${file}: reads no clock; take it from scripts/clocks.ts`);
  }
  return complaints.sort();
}
