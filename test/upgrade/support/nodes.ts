// What the upgrade tests do to nodes and see of them.
import { expect } from "bun:test";
import { routeLines, tables } from "../../kernel/support/mesh-reference.ts";
import { throwRoutes } from "../../kernel/support/reference.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import type { ConfList } from "../../lab/runtime.ts";
import { eachWay, type FlowResult, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";

/** Before and after what is done under traffic. */
const phaseMs = 500;

/** A network of pods whose addresses are of the node's own pod CIDRs. */
export function network(node: Node): ConfList {
  const ranges = node.podCidrs.map((subnet) => [{ subnet }]);
  const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }];
  const ptp = { type: "ptp", ipMasq: false, ipam: { type: "host-local", ranges, routes } };
  return { cniVersion: "1.0.0", name: "pods", plugins: [ptp, { type: "wg-cni" }] };
}

export async function attach(node: Node, name: string): Promise<Pod> {
  const pod = node.pod(name);
  await node.runtime.add(network(node), pod);
  return pod;
}

/** DEL of the whole chain; then nothing is left of the pod. */
export async function detach(pod: Pod): Promise<void> {
  const { node } = pod;
  await node.runtime.del(network(node), pod);
  pod.remove();
  const left = ([4, 6] as const).filter((family) => throwRoutes(node).includes(pod.ip(family)));
  expect(left).toEqual([]);
  const files = node.exec(["ls", "/var/lib/cni/networks/pods"]).stdout;
  expect(files.split("\n").filter((name) => name === pod.ip(4) || name === pod.ip(6))).toEqual([]);
}

/** Upgrades or downgrades as an operator does: the file is replaced, then the agent is started anew. Pods stay. */
export async function replace(node: Node, agent: Agent, executable: string): Promise<Agent> {
  node.install(executable);
  expect(await agent.stop()).toMatchObject({ exitCode: 0 });
  return node.agent();
}

/** Resolves when the pods of every pair reach each other, and the nodes' routes to the others' pods lead into a tunnel. */
export async function encrypts(pods: readonly Pod[]): Promise<void> {
  for (const [one, other] of pairs(pods)) {
    const answers = () => one.exec(["ping", "-q", "-c", "1", "-W", "1", other.ip(4)]).exitCode === 0;
    await waitUntil(answers, { what: `${one.label} reaches ${other.label}` });
  }
  for (const { node } of pods)
    for (const family of [4, 6] as const) {
      const isEncrypted = () =>
        routeLines(node, family, tables.pods).filter((line) => line.includes("dev wg-cni-")).length ===
        pods.length - 1;
      await waitUntil(isEncrypted, {
        what: `${node.name} sends IPv${family} to all peers through the tunnel`,
      });
    }
}

/** Counts what is lost between the pods, and expects nothing in plaintext on the wire, during `deed`. */
export async function lostWhile(
  lab: Lab,
  pods: readonly Pod[],
  deed: () => Promise<unknown>,
): Promise<ReturnType<typeof losses>> {
  const flows = ([4, 6] as const).flatMap((family) => eachWay(pairs(pods), family));
  const streams = await Streams.start(flows, { rate: 200 });
  const capture = await lab.capture();
  let results: FlowResult[] = [];
  try {
    await Bun.sleep(phaseMs);
    await deed();
    await Bun.sleep(phaseMs);
  } finally {
    results = await streams.stop();
  }
  const { packets } = await capture.tally();
  await capture.stop();
  expect(packets.plaintext).toBe(0);
  expect(packets.wireguard).toBeGreaterThan(flows.length);
  expect(results.every(({ sent }) => sent > 0)).toBe(true);
  return losses(results);
}

function pairs(pods: readonly Pod[]): [Pod, Pod][] {
  return pods.flatMap((one, at) => pods.slice(at + 1).map((other): [Pod, Pod] => [one, other]));
}
