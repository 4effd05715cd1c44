// Records that go wrong while their node works: an empty or broken file, one that says nothing of
// keys, no endpoint, another node's keys or CIDR. Whoever was in the tunnel is never reached in
// plaintext because of it. Only a record that says that its node has no key takes it out, which is
// the control: then packets are on the wire.
//
//   n1, pod ──┬── n2, pod: its agent is stopped, and its file is what the test makes of it
//             └── n3: the others' keys and CIDRs are its own
//
// The witnesses are a capture of the wire and packets counted at their receivers.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { flow, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode } from "../support/mesh-reference.ts";

const openMs = 60_000;

interface PeerShown {
  readonly name: string;
  readonly state: string;
  readonly reach: string;
}

describeKernel("records that go wrong", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("contested");
  let n1: Node;
  let n2: Node;
  let n3: Node;
  let pods: [Pod, Pod];
  let agent: Agent;
  let capture: Capture;
  let recordsDir: string;
  let good: NodeRecord;
  let other: NodeRecord;

  beforeAll(async () => {
    [n1, n2, n3] = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)];
    const mesh = await joinByRecords([n1, n2, n3]);
    recordsDir = mesh.recordsDir;
    agent = mesh.agents[0] as Agent;
    const made: Pod[] = [];
    for (const node of [n1, n2]) {
      const pod = node.pod("pod");
      await node.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
      made.push(pod);
    }
    pods = made as [Pod, Pod];
    await waitUntil(
      async () => (await peer("n2"))?.reach === "tunnel" && (await peer("n3"))?.reach === "tunnel",
      {
        what: "node 1 reaches its peers through the tunnel",
        timeoutMs: openMs,
        everyMs: 200,
      },
    );
    // So that what the test writes stays.
    await (mesh.agents[1] as Agent).stop();
    good = readRecord("n2");
    other = readRecord("n3");
    capture = await lab.capture();
  }, 120_000);
  const readRecord = (name: string) =>
    JSON.parse(readFileSync(`${recordsDir}/${name}.json`, "utf8")) as NodeRecord;
  const write = (text: string) => {
    writeFileSync(`${recordsDir}/.n2.tmp`, text);
    renameSync(`${recordsDir}/.n2.tmp`, `${recordsDir}/n2.json`);
  };
  const peer = async (name: string) => {
    const { stdout } = await n1.wg(["status", "--json"]);
    return (JSON.parse(stdout) as { peers: readonly PeerShown[] }).peers.find((one) => one.name === name);
  };
  /** Sends to node 2's pod until the record has been taken or refused; how many were on the wire in plaintext. */
  const sendAcross = async (text: string) => {
    const before = (await capture.packetsOf("plaintext")).length;
    const streams = await Streams.start([flow(...pods, 4), flow(...pods, 6), flow(pods[0], n2, 4)], {
      rate: 50,
    });
    const from = agent.lines().length;
    write(text);
    await agent.waitFor(
      ({ message, peer: name, file }) =>
        (message === "record accepted" && name === "n2") ||
        (message === "record rejected" && file === "n2.json"),
      openMs,
      from,
    );
    await Bun.sleep(1500);
    const results = await streams.stop();
    const plaintext = (await capture.packetsOf("plaintext")).length - before;
    const received = results.every((one) => one.received === one.sent);
    return { plaintext, isLossless: received, peer: await peer("n2") };
  };
  const mend = async () => {
    write(JSON.stringify(good));
    await waitUntil(async () => (await peer("n2"))?.state === "encrypted", {
      what: "node 2 is encrypted again",
      timeoutMs: openMs,
      everyMs: 200,
    });
  };

  test.each([
    ["empty", () => ""],
    ["half-written", () => JSON.stringify(good).slice(0, 80)],
    ["an empty object", () => "{}"],
    ["without a word of keys", () => JSON.stringify({ name: "n2", podCIDRs: good.podCIDRs })],
    ["without an endpoint", () => JSON.stringify({ ...good, endpoints: [] })],
    [
      "with another node's CIDR beside its own",
      () => JSON.stringify({ ...good, podCIDRs: [...good.podCIDRs, ...other.podCIDRs] }),
    ],
    [
      "with another node's CIDR and addresses instead of its own",
      () => JSON.stringify({ ...good, podCIDRs: other.podCIDRs, nodeIPs: other.nodeIPs }),
    ],
  ])("%s: nothing is lost, and nothing is in plaintext", async (_what, text) => {
    expect(await sendAcross(text())).toMatchObject({
      plaintext: 0,
      isLossless: true,
      peer: { reach: "tunnel" },
    });
    expect((await peer("n3"))?.reach).toBe("tunnel");
    await mend();
  });

  test("with another node's keys: refused, and not in plaintext; the keys stay with their node", async () => {
    const seen = await sendAcross(JSON.stringify({ ...good, slots: other.slots }));
    expect(seen).toMatchObject({
      plaintext: 0,
      isLossless: false,
      peer: { state: "conflict", reach: "refused" },
    });
    expect((await peer("n3"))?.reach).toBe("tunnel");
    const said = agent
      .lines()
      .filter(({ message, peer: name }) => message === "claim of a peer refused" && name === "n2");
    expect(said.map(({ owner }) => owner)).toContain("n3");
    await mend();
  });

  test("the control: a record that says that its node has no key, and packets are in plaintext", async () => {
    const seen = await sendAcross(JSON.stringify({ ...good, slots: [] }));
    expect(seen).toMatchObject({ peer: { state: "keyless", reach: "plaintext" } });
    expect(seen.plaintext).toBeGreaterThan(0);
  });
});
