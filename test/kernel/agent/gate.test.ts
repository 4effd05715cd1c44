// The gate with real packets: node 1 encrypts long before node 2 answers in
// kind, with strict reverse-path filtering on every uplink. Seven paths, both
// families, in three phases: in plaintext, one-sided, both. Permissive loses
// nothing; strict never sends anything of a pod in plaintext.
import { beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { answering, pathStreams, paths, probePaths } from "../../lab/path-matrix.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { losses } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLabPerTest } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, wgJson, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
/** Long enough for hundreds of requests on each path in each phase. */
const phaseMs = 3000;
/** A handshake takes milliseconds, its reading a second, a first try that was lost five. */
const openMs = 30_000;

const podRoute = (node: Node, cidr: string) =>
  node.must(["ip", "route", "show", "table", "18099", "exact", cidr]).trim();

async function importOne(to: Node, from: Node, change: Partial<NodeRecord> = {}): Promise<void> {
  const record = await wgJson<NodeRecord>(from, ["node", "show"]);
  await wgMust(to, ["peer", "import", "-"], { stdin: JSON.stringify({ ...record, ...change }) });
}

describeKernel("gate", () => {
  setDefaultTimeout(120_000);
  const lab = withLabPerTest("gate");
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;
  let agent: Agent | undefined;

  beforeEach(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    for (const node of [n1, n2]) node.strictReversePath();
  });

  const up = async (mode: string) => {
    for (const node of [n1, n2])
      await wgMust(node, [
        "up",
        ...node.upArguments,
        "--mode",
        mode,
        "--cluster-cidrs",
        "10.244.0.0/16,fd00:10:244::/48",
      ]);
  };
  const addPods = async () => {
    p1 = n1.pod("p1");
    p2 = n2.pod("p2");
    await n1.runtime.add(readConfList(`${repository}/conf/10-ptp.conflist`), p1);
    await n2.runtime.add(readConfList(`${repository}/conf/10-bridge.conflist`), p2);
  };
  const opened = () =>
    waitUntil(() => podRoute(n1, n2.podCidrs[0] as string).includes("dev wg-cni-"), {
      what: "node 1 routes node 2's pods into the tunnel",
      timeoutMs: openMs,
    });

  test("permissive: no packet is lost on any path before, while and after node 1 encrypts alone", async () => {
    await up("permissive");
    await addPods();
    agent = await n1.agent();
    const streams = await Promise.all(families.map((family) => pathStreams(p1, p2, family)));
    const capture = await lab.capture();
    await Bun.sleep(phaseMs);
    // Node 1 knows node 2, which does not know it: no handshake, so nothing changes.
    await importOne(n1, n2);
    await Bun.sleep(phaseMs);
    expect(podRoute(n1, n2.podCidrs[0] as string)).toStartWith("throw");
    expect((await capture.tally()).packets.plaintext).toBeGreaterThan(0);
    // The agent of node 1 sleeps: node 2 encrypts from here on, node 1 answers in plaintext.
    agent.freeze();
    await importOne(n2, n1);
    await Bun.sleep(phaseMs);
    expect(podRoute(n1, n2.podCidrs[0] as string)).toStartWith("throw");
    expect(podRoute(n2, n1.podCidrs[0] as string)).toContain("dev wg-cni-");
    agent.thaw();
    await opened();
    const both = await lab.capture();
    await Bun.sleep(phaseMs);
    const { packets } = await both.tally();
    const results = (await Promise.all(streams.map((one) => one.stop()))).flat();
    expect(losses(results)).toEqual({});
    expect(packets.plaintext).toBe(0);
    expect(packets.wireguard).toBeGreaterThan(0);
    // Host to host stays outside by design.
    expect(packets.host).toBeGreaterThan(0);
  });

  test("strict: nothing of a pod is in plaintext before, while and after node 2 encrypts alone, and all paths work at the end", async () => {
    await up("strict");
    await addPods();
    agent = await n1.agent();
    // Node 1 knows of node 2, but not its keys; node 2 knows node 1's and encrypts at once.
    await importOne(n1, n2, { slots: [] });
    await importOne(n2, n1);
    const capture = await lab.capture();
    const streams = await Promise.all(families.map((one) => pathStreams(p1, p2, one, { mayLose: true })));
    await Bun.sleep(phaseMs);
    expect(podRoute(n1, n2.podCidrs[0] as string)).toStartWith("prohibit");
    agent.freeze();
    await importOne(n1, n2);
    await Bun.sleep(phaseMs);
    // It has the keys, but nobody yet to open the gate.
    expect(podRoute(n1, n2.podCidrs[0] as string)).toStartWith("prohibit");
    agent.thaw();
    await opened();
    await Bun.sleep(phaseMs);
    await Promise.all(streams.map((one) => one.stop()));
    for (const family of families) expect(answering(await probePaths(p1, p2, family))).toEqual([...paths]);
    const { packets } = await capture.tally();
    expect(packets.plaintext).toBe(0);
    expect(packets.wireguard).toBeGreaterThan(0);
  });

  test("the ratchet: a peer that stops answering is not reached in plaintext, after a restart of the agent neither, until released", async () => {
    await up("permissive");
    await addPods();
    agent = await n1.agent();
    await importOne(n1, n2);
    await importOne(n2, n1);
    await opened();
    await wgMust(n2, ["down"]);
    const capture = await lab.capture();
    const stream = await pathStreams(p1, p2, 4, { mayLose: true });
    await Bun.sleep(phaseMs);
    await agent.kill();
    agent = await n1.agent();
    await Bun.sleep(phaseMs);
    await stream.stop();
    const fromPod1 = (await capture.packetsOf("plaintext")).filter(({ source }) => source === p1.ip(4));
    expect(fromPod1).toEqual([]);
    expect(podRoute(n1, n2.podCidrs[0] as string)).toContain("dev wg-cni-");
    await wgMust(n1, ["peer", "release", "n2"]);
    expect(podRoute(n1, n2.podCidrs[0] as string)).toStartWith("throw");
    expect(answering(await probePaths(p1, p2, 4))).toEqual([...paths]);
  });
});
