// Keys are rotated under load: three nodes, a thousand packets a second each way
// between every two of them, three full rotations of all nodes at once. None is
// lost, none is in plaintext, and every key is another one afterwards.
import { beforeAll, expect, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { answering, paths, probePaths } from "../../lab/path-matrix.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { eachWay, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, routeLines, tables, wgJson, wgMust } from "../support/mesh-reference.ts";

const rotations = 3;
/** A drain takes ten seconds at least, two slots; nodes that meet wait for each other. */
const rotationMs = 240_000;
const testMs = 900_000;

describeKernel("rotation", () => {
  const lab = withLab("rotation");
  const nodes: Node[] = [];
  const pods: Pod[] = [];
  let agents: readonly Agent[];

  beforeAll(async () => {
    for (const index of [1, 2, 3]) nodes.push(await addNode(lab, index));
    for (const node of nodes) node.strictReversePath();
    ({ agents } = await joinByRecords(nodes));
    for (const node of nodes) {
      const pod = node.pod(`p${node.name}`);
      await node.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
      pods.push(pod);
    }
  }, 120_000);
  const keys = async (node: Node) =>
    (await wgJson<NodeRecord>(node, ["node", "show"])).slots.map(({ publicKey }) => publicKey);
  const isRotating = async (node: Node) =>
    (await wgJson<NodeRecord>(node, ["node", "show"])).slots.some(({ state }) => state !== "active");

  const isEncrypted = (node: Node, peer: number) => {
    const led = ([4, 6] as const).map((family) => routeLines(node, family, tables.pods).join("\n"));
    const prefixes = [`10.244.${peer}.0/24`, `fd00:10:244:${peer}::/64`];
    return prefixes.every((prefix, i) => led[i]?.includes(`${prefix} dev wg-cni-`));
  };

  async function rotateAll(): Promise<void> {
    const before = await Promise.all(nodes.map(keys));
    const from = agents.map((agent) => agent.lines().length);
    await Promise.all(nodes.map((node) => wgMust(node, ["key", "rotate"])));
    await Promise.all(
      agents.map((agent, at) => agent.waitFor("the rotation is done", rotationMs, from[at] as number)),
    );
    for (const [at, node] of nodes.entries()) {
      expect(await isRotating(node)).toBe(false);
      expect((await keys(node)).filter((key) => before[at]?.includes(key))).toEqual([]);
    }
  }

  test(
    "three rotations of three nodes at once lose no packet of 1000 a second each way, and show none in plaintext",
    async () => {
      const [p1, p2, p3] = pods as [Pod, Pod, Pod];
      const pairs = [
        [p1, p2],
        [p2, p3],
        [p3, p1],
      ] as const;
      for (const [one, other] of pairs)
        await waitUntil(async () => answering(await probePaths(one, other, 4)).length === paths.length, {
          what: `all paths between ${one.label} and ${other.label}`,
          timeoutMs: 60_000,
        });
      // Until its gate is open, a node sends in plaintext.
      for (const [at, node] of nodes.entries())
        for (const peer of [1, 2, 3].filter((index) => index !== at + 1))
          await waitUntil(() => isEncrypted(node, peer), {
            what: `${node.name} encrypts to node ${peer}`,
            timeoutMs: 60_000,
          });
      const capture = await lab.capture("net 10.244.0.0/16 or ip6 net fd00:10:244::/48");
      const flows = [...eachWay(pairs, 4), ...eachWay([[p1, p2]], 6)];
      const streams = await Streams.start(flows, { rate: 1000 });
      for (let i = 0; i < rotations; i++) await rotateAll();
      const results = await streams.stop();
      console.log(`rotation: ${results.reduce((sum, { sent }) => sum + sent, 0)} packets sent`);
      expect(losses(results)).toEqual({});
      expect(results.reduce((sum, { received }) => sum + received, 0)).toBeGreaterThan(100_000);
      expect((await capture.packets()).length).toBe(0);
      for (const agent of agents)
        expect(agent.lines().filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
    },
    testMs,
  );
});
