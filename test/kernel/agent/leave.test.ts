// A node that leaves a mesh of published records: `down` tells the others first,
// so that nothing is sent encrypted to a node that cannot read it any more.
import { beforeAll, expect, test } from "bun:test";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { answering, pathStreams, paths, probePaths } from "../../lab/path-matrix.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { losses } from "../../lab/stream.ts";
import { http } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";

const testMs = 120_000;
/** Enough requests before and after for a gap to show. */
const aroundMs = 2000;

describeKernel("leaving", () => {
  const lab = withLab("leave");
  let n1: Node;
  let n2: Node;
  const pods: Pod[] = [];

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    for (const node of [n1, n2]) node.strictReversePath();
    await joinByRecords([n1, n2]);
    // Chained pods: their plugin keeps them reachable without us.
    for (const [node, list] of [
      [n1, "10-ptp"],
      [n2, "10-bridge"],
    ] as const) {
      const pod = node.pod(`p${node.name}`);
      await node.runtime.add(readConfList(`${repository}/conf/${list}.conflist`), pod);
      pods.push(pod);
    }
  }, testMs);
  const route = (node: Node, cidr: string) =>
    node.must(["ip", "route", "show", "table", "18099", "exact", cidr]).trim();

  test(
    "down on one node and up again under traffic on seven paths loses nothing",
    async () => {
      const [p1, p2] = pods as [Pod, Pod];
      await waitUntil(async () => answering(await probePaths(p1, p2, 4)).length === paths.length, {
        what: "all seven paths",
        timeoutMs: 60_000,
      });
      await waitUntil(() => route(n1, "10.244.2.0/24").includes("dev wg-cni-"), {
        what: "node 1 encrypts",
        timeoutMs: 60_000,
      });
      const streams = await pathStreams(p1, p2, 4);
      await Bun.sleep(aroundMs);
      await wgMust(n2, ["down"]);
      expect(route(n1, "10.244.2.0/24")).toStartWith("throw");
      expect(n2.must(["ip", "-br", "link"])).not.toContain("wg-cni");
      await Bun.sleep(aroundMs);
      await wgMust(n2, ["up"]);
      for (const [node, cidr] of [
        [n1, "10.244.2.0/24"],
        [n2, "10.244.1.0/24"],
      ] as const)
        await waitUntil(() => route(node, cidr).includes("dev wg-cni-"), {
          what: `${node.name} encrypts again`,
          timeoutMs: 60_000,
        });
      await Bun.sleep(aroundMs);
      expect(losses(await streams.stop())).toEqual({});
    },
    testMs,
  );

  test(
    "an agent that is there to leave is ready when it has left, also if the node never was in a mesh",
    async () => {
      const node = await addNode(lab, 3);
      const isReady = async () => (await http(node, "127.0.0.1", 5, 9586, "/readyz")).ok;
      const isUp = () => node.must(["ip", "-br", "link"]).includes("wg-cni");
      const leave = async () => {
        const agent = await node.agent({ args: ["--leave"] });
        await agent.waitFor("this node has left the mesh");
        await waitUntil(isReady, { what: "it is ready" });
        expect(isUp()).toBe(false);
        expect(agent.lines().filter(({ level }) => level === "error")).toEqual([]);
        await agent.stop();
      };
      await leave();
      await wgMust(node, ["up", ...node.upArguments]);
      await leave();
      // A node that left by --leave comes back by itself, and one that was taken down by hand does not.
      const back = await node.agent();
      expect(isUp()).toBe(true);
      await back.stop();
      await wgMust(node, ["down"]);
      const down = await node.agent();
      expect(isUp()).toBe(false);
      await down.stop();
    },
    testMs,
  );
});
