// How long an ADD takes, beside one of ptp, while a node that was restarted programs thousands of peers, and how long afterwards.
import { join } from "node:path";
import type { NodeRecord } from "../../../src/net/record.ts";
import { wgMust } from "../../kernel/support/mesh-reference.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { AddTimes, Figures } from "./figures.ts";

const timeoutMs = 120_000;
const restMs = 5000;

export async function measureAdds(
  lab: Lab,
  before: Node,
  records: readonly NodeRecord[],
): Promise<Figures["adds"]> {
  // A reboot of the lab's leaves /var/lib alone, and without the key no slot can be used.
  await wgMust(before, ["up", ...before.upArguments, "--seal-key-file", "/var/lib/seal.key"]);
  await wgMust(before, ["peer", "import", "-"], { stdin: JSON.stringify(records), timeoutMs });
  const node = await lab.reboot(before);
  // It is ready after the first pass.
  const starting = node.agent();
  const lock = ["flock", "-n", `${node.stateDir}/agent.lock`, "true"];
  await waitUntil(() => node.exec(lock).exitCode !== 0, { what: "an agent that runs" });
  const [during, agent] = await addMeanwhile(node, () => starting);
  const peers = node.must(["wg", "show", "wg-cni-a", "peers"]).trimEnd().split("\n");
  if (peers.length !== records.length)
    throw new Error(`${peers.length} peers of ${records.length} were programmed beside the ADDs`);
  const [afterwards] = await addMeanwhile(node, () => Bun.sleep(restMs));
  await agent.stop();
  return { during, afterwards };
}

async function addMeanwhile<T>(node: Node, work: () => Promise<T>): Promise<readonly [AddTimes, T]> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const running = node.start([process.execPath, join(import.meta.dir, "adds.ts")], {
    ...{ interactive: true, timeoutMs, onStderrLine: () => resolve() },
  });
  await promise;
  const done = await work();
  await running.closeInput();
  const { exitCode, stdout, stderr } = await running.finished;
  if (exitCode !== 0) throw new Error(`ADDs beside a sync: ${stderr}`);
  return [JSON.parse(stdout) as AddTimes, done];
}
