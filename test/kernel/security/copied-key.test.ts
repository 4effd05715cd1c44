// A hostile node writes another node's public keys into its own record, as soon as that has published
// them, under streams between the two others. It shares no proof, or the copied one; both records come
// in one list, and its own is the first by name. Nothing is lost, nothing is in plaintext, and the keys
// stay with their node. The control: of two records without proofs the copy that comes first has the key.
//
//   n1, pod ──┬── n3, pod: rotates its keys
//             ├── n2: hostile; its agent is stopped, and its file is what the test makes of it
//             └── n4: exists on paper, and proves nothing
//
// The witnesses are `wg show`, a capture of the wire and packets counted at their receivers.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { NodeRecord, SlotRecord } from "../../../src/net/record.ts";
import type { Agent, LogLine } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { eachWay, flow, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods } from "../support/hosts.ts";
import { addNode, paperRecord, wgDump, wgMust } from "../support/mesh-reference.ts";

const openMs = 60_000;

interface Status {
  readonly peers: readonly { readonly name: string; readonly reach: string; readonly slot?: string }[];
}

describeKernel("a copied key", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("copied");
  let n1: Node;
  let n3: Node;
  let agent: Agent;
  let victim: Agent;
  let recordsDir: string;
  let pods: [Pod, Pod];
  let capture: Capture;
  /** Of n2, as its agent wrote it. */
  let honest: NodeRecord;
  let streams: Streams;

  beforeAll(async () => {
    const nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)] as const;
    [n1, , n3] = nodes;
    const mesh = await joinByRecords(nodes);
    [agent, , victim] = mesh.agents as [Agent, Agent, Agent];
    recordsDir = mesh.recordsDir;
    await (mesh.agents[1] as Agent).stop();
    honest = readRecord("n2");
    pods = (await addPods([n1, n3])) as [Pod, Pod];
    await waitUntil(async () => (await reach("n2")) === "tunnel" && (await reach("n3")) === "tunnel", {
      ...{ what: "node 1 reaches its peers through the tunnel", timeoutMs: openMs },
    });
    capture = await lab.capture();
    streams = await Streams.start([...eachWay([pods], 4), ...eachWay([pods], 6), flow(pods[0], n3, 4)], {
      rate: 50,
    });
  }, 120_000);
  const readRecord = (name: string) =>
    JSON.parse(readFileSync(`${recordsDir}/${name}.json`, "utf8")) as NodeRecord;
  const write = (record: NodeRecord) => {
    writeFileSync(`${recordsDir}/.tmp`, JSON.stringify(record));
    renameSync(`${recordsDir}/.tmp`, `${recordsDir}/${record.name}.json`);
  };
  /** It exits with 1 while there is something to do. */
  const statusOf = async (node: Node, name: string) =>
    (JSON.parse((await node.wg(["status", "--json"])).stdout) as Status).peers.find(
      (peer) => peer.name === name,
    );
  const reach = async (name: string) => (await statusOf(n1, name))?.reach;
  /** Returns the prefixes that node 1 sends to the key, on its devices. */
  const allowedOf = (publicKey: string) =>
    Object.values(wgDump(n1)).flatMap(({ peers }) => peers[publicKey]?.allowedIPs ?? []);
  const without = ({ proof: _, ...slot }: SlotRecord): SlotRecord => slot;
  /** Node 1 hears at once of all that `change` does, and has taken it when this resolves. */
  const inOneList = async (change: () => Promise<void> | void, refused: string, peer = "n2") => {
    const from = agent.lines().length;
    agent.freeze();
    await change();
    agent.thaw();
    const isRefusal = ({ message, peer: name, claim }: LogLine) =>
      message === "claim of a peer refused" && name === peer && claim === refused;
    await agent.waitFor(isRefusal, openMs, from);
  };
  const expectUnmoved = async () => {
    for (const { publicKey } of readRecord("n3").slots)
      expect(allowedOf(publicKey)).toEqual(expect.arrayContaining(["10.244.3.0/24", "192.0.2.3/32"]));
    expect(await reach("n3")).toBe("tunnel");
  };

  test("of a rotation, with its proof, in one list with it: the route moves onto the new key", async () => {
    const [old] = readRecord("n3").slots as [SlotRecord];
    await wgMust(n3, ["key", "rotate"]);
    await waitUntil(async () => (await statusOf(n1, "n3"))?.slot === "b", {
      ...{ what: "node 1 has left the slot that drains", timeoutMs: openMs, everyMs: 200 },
    });
    let fresh = old;
    agent.freeze();
    await waitUntil(
      () => {
        fresh = readRecord("n3").slots[0] as SlotRecord;
        return fresh.publicKey !== old.publicKey;
      },
      { what: "node 3 publishes a new key", timeoutMs: openMs, everyMs: 20 },
    );
    await inOneList(
      () => write({ ...honest, slots: [fresh, honest.slots[1] as SlotRecord] }),
      fresh.publicKey,
    );
    await waitUntil(async () => (await statusOf(n1, "n3"))?.slot === "a", {
      ...{ what: "node 1 sends by the slot with the new key", timeoutMs: openMs, everyMs: 200 },
    });
    expect(fresh.proof).toBeDefined();
    // The keys that are copied from now on stay as they are.
    await victim.stop();
    await expectUnmoved();
  });

  test.each<[string, (slots: readonly SlotRecord[]) => readonly SlotRecord[]]>([
    ["without proofs, both of them", (slots) => slots.map(without)],
    [
      "with proofs, each in the other slot",
      ([a, b]) => [
        { ...(a as SlotRecord), slot: "b" },
        { ...(b as SlotRecord), slot: "a" },
      ],
    ],
  ])("%s: nothing changes, also for a record that is made anew", async (_, copy) => {
    const { slots } = readRecord("n3");
    const first = (slots[0] as SlotRecord).publicKey;
    const from = agent.lines().length;
    rmSync(`${recordsDir}/n2.json`);
    const isSettled = ({ message, peer }: LogLine) =>
      message === "resolved: claim of a peer refused" && peer === "n2";
    await agent.waitFor(isSettled, openMs, from);
    await inOneList(() => write({ ...honest, slots: copy(slots) }), first);
    await expectUnmoved();
    expect(await statusOf(n1, "n2")).toMatchObject({ reach: "plaintext" });
  });

  test("of the node that reads the record: nothing changes for any peer", async () => {
    const own = readRecord("n1").slots[0] as SlotRecord;
    await inOneList(() => write({ ...honest, slots: [own] }), own.publicKey);
    await expectUnmoved();
  });

  test("in strict mode: nothing changes, and the copier is refused", async () => {
    await n1.wg(["up", "--mode", "strict", "--cluster-cidrs", "10.244.0.0/16,fd00:10:244::/48"]);
    const { slots } = readRecord("n3");
    await inOneList(() => write({ ...honest, slots }), (slots[0] as SlotRecord).publicKey);
    await expectUnmoved();
    expect(await statusOf(n1, "n2")).toMatchObject({ reach: "refused" });
  });

  test("of a record without proofs that comes with the copy: the copy has it, which is the control", async () => {
    const paper = paperRecord(4, { name: "n4" });
    const [slot] = paper.slots as [SlotRecord];
    await inOneList(
      () => {
        write({ ...honest, slots: [slot] });
        write(paper);
      },
      slot.publicKey,
      "n4",
    );
    expect(allowedOf(slot.publicKey)).toContain("10.244.2.0/24");
  });

  test("under all of it no packet was lost, and none was in plaintext", async () => {
    expect(losses(await streams.stop())).toEqual({});
    expect((await capture.packetsOf("plaintext")).length).toBe(0);
  });
});
