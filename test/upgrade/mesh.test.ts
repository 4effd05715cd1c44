// Three nodes of which some have the previous wg-cni and some this one, under numbered traffic between all
// their pods, in both families. The nodes are upgraded in place, one after the other.
//
//   n1  previous  previous  this
//   n2  previous  this      this
//   n3  this      this      this
import { beforeAll, expect, test } from "bun:test";
import { addressing, wgMust } from "../kernel/support/mesh-reference.ts";
import { noRows, rows } from "../kernel/support/reference.ts";
import type { Agent } from "../lab/agent.ts";
import { joinByRecords, knowsPeers } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import { binary } from "../lab/paths.ts";
import type { Pod } from "../lab/pod.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeUpgrade, previous } from "./support/gate.ts";
import { attach, detach, encrypts, lostWhile, network, replace } from "./support/nodes.ts";

const rotationMs = 60_000;

describeUpgrade("nodes with the previous wg-cni and with this one", () => {
  const lab = withLab("upgrade");
  const nodes: Node[] = [];
  const pods: Pod[] = [];
  let agents: Agent[];

  beforeAll(async () => {
    for (const [at, executable] of [previous, previous, binary].entries())
      nodes.push(await lab.node(`n${at + 1}`, { ...addressing(at + 1), executable }));
    agents = [...(await joinByRecords(nodes)).agents];
    for (const node of nodes) pods.push(await attach(node, "stays"));
    await encrypts(pods);
  }, 120_000);

  const rotate = async (at: number) => {
    const agent = agents[at] as Agent;
    const from = agent.lines().length;
    await wgMust(nodes[at] as Node, ["key", "rotate"]);
    await agent.waitFor("the rotation is done", rotationMs, from);
  };
  const upgrade = async (at: number) => {
    agents[at] = await replace(nodes[at] as Node, agents[at] as Agent, binary);
    for (const node of nodes) await knowsPeers(node, nodes);
    await encrypts(pods);
  };

  test("one of three with this one: both sides read new keys of the other, and lose nothing", async () => {
    const lost = await lostWhile(lab, pods, async () => {
      await rotate(0);
      await rotate(2);
      await encrypts(pods);
    });
    expect(lost).toEqual({});
  });

  test.each([1, 0])("node %i upgraded in place: nothing is lost, and its older pods end well", async (at) => {
    const node = nodes[at] as Node;
    const before = await attach(node, "before");
    const lost = await lostWhile(lab, pods, () => upgrade(at));
    expect(lost).toEqual({});
    expect(rows(node).attachments).toHaveLength(2);
    await node.runtime.check(network(node), before);
    await detach(before);
    expect(rows(node).attachments).toHaveLength(1);
    const after = await attach(node, "after");
    await encrypts(pods);
    await detach(after);
    expect(await lostWhile(lab, pods, () => rotate(at))).toEqual({});
  });

  test("pods from before the upgrade leave nothing behind", async () => {
    for (const pod of pods) {
      await detach(pod);
      expect(rows(pod.node)).toEqual(noRows);
    }
    for (const agent of agents) expect(await agent.stop()).toMatchObject({ exitCode: 0 });
  });
});
