// A pod CIDR that a peer has newly announced is in the kernel before the agent looks at everything. Nothing is lost by
// that, and what a peer gives up, what moves and what another process has broken is the business of the whole sync.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import { upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import {
  addNode,
  importPeers,
  routeLines,
  stepsBesideAgent,
  tables,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

const target = "10.244.2.9";
const own = "10.244.2.0/24";
const [first, second, third] = ["10.250.0.0/24", "10.251.0.0/24", "10.252.0.0/24"];

describeKernel("new pod CIDRs of a peer", () => {
  const lab = withLab("new-cidrs");
  let n1: Node;
  let n2: Node;
  let agent: Agent;
  let record: NodeRecord;
  let directory: string;
  let known = -1;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    directory = await upWithRecords(n1);
    await wgMust(n2, ["up", ...n2.upArguments]);
    await importPeers(n2, [await wgJson<NodeRecord>(n1, ["node", "show"])]);
    record = await wgJson<NodeRecord>(n2, ["node", "show"]);
    n2.script([
      "ip link add pod0 type bridge",
      `ip address add ${target}/32 dev pod0`,
      "ip link set pod0 up",
    ]);
    announce();
    agent = await n1.agent({ args: ["--log-level", "debug"] });
    await programmed(own);
    // Handshakes and the events of the devices lead to passes of their own.
    await waitUntil(() => isCalm(), { what: "handshakes on both devices, and no more passes", everyMs: 500 });
  });

  /** True if both devices have a session, and no pass has found anything to do since the last call. */
  const isCalm = () => {
    const lines = agent.lines().length;
    const isStill = lines === known;
    known = lines;
    return (
      isStill &&
      Object.values(wgDump(n1)).every(({ peers }) =>
        Object.values(peers).every(({ handshake }) => handshake > 0),
      )
    );
  };
  /** Writes the record of node 2, which has no agent; `added` are its pod CIDRs beside its own ones. */
  const announce = (...added: readonly string[]) => {
    const text = JSON.stringify({ ...record, podCIDRs: [...record.podCIDRs, ...added] });
    writeFileSync(`${directory}/n2.new`, text);
    renameSync(`${directory}/n2.new`, `${directory}/n2.json`);
  };
  const routed = () =>
    routeLines(n1, 4, tables.pods).flatMap((line) => /^unicast (\S+) dev wg-cni-/.exec(line)?.[1] ?? []);
  const programmed = (...cidrs: readonly string[]) =>
    waitUntil(() => routed().sort().join() === cidrs.join(), {
      what: () => `routes to ${cidrs.join(", ")}, not ${routeLines(n1, 4, tables.pods).join("; ")}`,
    });
  const allowed = () =>
    wgDump(n1)["wg-cni-a"]?.peers[record.slots[0]?.publicKey ?? ""]?.allowedIPs.filter((ip) =>
      ip.startsWith("10."),
    );

  /** What is done first in each change to the mesh that comes of a deed, until `done` are routed. */
  const changesOf = async (deed: () => unknown, ...done: readonly string[]) => {
    const from = agent.lines().length;
    deed();
    await programmed(...done);
    await agent.waitFor("reconciled", undefined, from);
    return agent
      .lines()
      .slice(from)
      .flatMap(({ message, first: command }) => (message === "mesh changed" ? [String(command)] : []))
      .map((command) => /add element|route delete/.exec(command)?.[0]);
  };

  test("a new one is added first, and then nothing is left to do", async () => {
    expect(await changesOf(() => announce(first), own, first)).toEqual(["add element"]);
    expect(allowed()).toEqual([own, first]);
    expect(await stepsBesideAgent(n1)).toEqual([]);
  });

  test("one in the place of another is added first, and the other one removed afterwards", async () => {
    const changes = await changesOf(() => announce(second), own, second);
    expect(changes).toEqual(["add element", "route delete"]);
    expect(allowed()).toEqual([own, second]);
    expect(await stepsBesideAgent(n1)).toEqual([]);
  });

  test("what a network has counted in plaintext is known, also if it goes and comes back at once", async () => {
    const lookup = ["priority", "98", "lookup", `${tables.pods}`, "protocol", "118"];
    const outPackets = async () =>
      (await wgJson<Status>(n1, ["status"])).peers.map(({ plaintext }) => plaintext?.outPackets ?? 0)[0] ?? 0;
    const before = await outPackets();
    for (const packets of [2, 3]) {
      announce(first);
      await programmed(own, first);
      // While the agent cannot repair it, packets to the network take the route of the host.
      agent.freeze();
      n1.must(["ip", "rule", "delete", ...lookup]);
      await n1.run(["ping", "-c", `${packets}`, "-i", "0.2", "-W", "1", "10.250.0.9"]);
      n1.must(["ip", "rule", "add", ...lookup]);
      agent.thaw();
      announce();
      await programmed(own);
    }
    expect((await outPackets()) - before).toBe(5);
  });

  test("if another process has changed the table meanwhile, the sync restores all of it", async () => {
    const table = () => n1.must(["nft", "list", "table", "inet", "wg-cni"]);
    announce(first);
    await programmed(own, first);
    const before = table();
    announce();
    await programmed(own);
    agent.freeze();
    n1.must(["nft", "flush", "chain", "inet", "wg-cni", "prerouting"]);
    announce(first);
    agent.thaw();
    await programmed(own, first);
    await waitUntil(() => withoutCounts(table()) === withoutCounts(before), { what: "the table as it was" });
  });

  test("after an agent that is killed right behind the addition, the next one goes on", async () => {
    announce(third);
    await waitUntil(() => routed().includes(third), { what: `a route to ${third}`, everyMs: 1 });
    await agent.kill();
    agent = await n1.agent({ args: ["--log-level", "debug"] });
    await programmed(own, third);
    expect(await stepsBesideAgent(n1)).toEqual([]);
  });

  test("if settings change at the same time, nothing is added ahead of the sync", async () => {
    agent.freeze();
    await wgMust(n1, ["up", "--persistent-keepalive", "25"]);
    announce(second);
    const from = agent.lines().length;
    agent.thaw();
    await programmed(own, second);
    await agent.waitFor("reconciled", undefined, from);
    const changes = agent
      .lines()
      .slice(from)
      .filter(({ message }) => message === "mesh changed");
    expect(changes).toHaveLength(1);
    expect(await stepsBesideAgent(n1)).toEqual([]);
  });

  // Last, because the log leaves out lines of which there are so many.
  test("while networks come and go hundreds of times, no request to the peer is lost", async () => {
    const flow = { name: "n1 -> n2", from: n1, to: n2, toIp: target, echo: true };
    const streams = await Streams.start([flow], { rate: 200 });
    for (let i = 0; i < 200; i++) {
      announce(...[first, second, third].filter((_, bit) => ((i + 1) >> bit) & 1));
      await Bun.sleep(20);
    }
    announce();
    await programmed(own);
    expect(losses(await streams.stop())).toEqual({});
    expect(await stepsBesideAgent(n1)).toEqual([]);
  });
});

interface Status {
  readonly peers: readonly { readonly plaintext?: { readonly outPackets: number } }[];
}

/** A table as nft lists it, without what its elements have counted. */
function withoutCounts(table: string): string {
  return table.replace(/packets \d+ bytes \d+/g, "");
}
