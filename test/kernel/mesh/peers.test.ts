// Peers come in all kinds: without keys, with keys or networks of other nodes,
// moving, changing, many. One node is real; the peers are records on paper.
import { beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { zeroKey } from "../../../src/net/key.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  importPeers,
  keyOf,
  killBehind,
  missing,
  paperRecord,
  routeLines,
  tables,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(120_000);

interface Listed {
  readonly name: string;
  readonly slot?: string;
  readonly podCIDRs: readonly string[];
  readonly refused: readonly string[];
}

describe.skipIf(missing !== undefined)("peers", () => {
  const lab = withLab("peers");
  let n1: Node;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    await wgMust(n1, ["up", ...n1.upArguments]);
  });
  beforeEach(async () => {
    for (const { name } of await listPeers()) await wgMust(n1, ["peer", "remove", name]);
    await wgMust(n1, ["up", "--mode", "default", "--cluster-cidrs", "default"]);
    expect(wgDump(n1)).toMatchObject({ "wg-cni-a": { peers: {} }, "wg-cni-b": { peers: {} } });
    expect(routeLines(n1, 4, tables.pods)).toEqual(["throw 10.244.1.0/24 proto 118 scope global"]);
    expect(routeLines(n1, 4, tables.hosts)).toEqual([]);
  });

  const listPeers = async () => (await wgJson<{ peers: Listed[] }>(n1, ["peer", "list"])).peers;
  const peersOn = (dev: string) => wgDump(n1)[dev]!.peers;
  const podRoutes = () => routeLines(n1, 4, tables.pods).filter((line) => !line.includes("10.244.1.0/24"));
  const noKeys = { slots: [] };

  test("without keys a peer is thrown to the main table, and refused in strict mode", async () => {
    await importPeers(n1, [paperRecord(1, noKeys)]);
    expect(podRoutes()).toEqual(["throw 10.128.1.0/24 proto 118 scope global"]);
    expect(routeLines(n1, 4, tables.hosts)).toEqual([]);
    expect((await wgMust(n1, ["peer", "list"])).stdout).toContain("no key");
    await wgMust(n1, ["up", "--mode", "strict", "--cluster-cidrs", "10.128.0.0/9,fd01::/16"]);
    // A cluster CIDR is refused to pods alone: what the node itself sends never meets the table of hosts.
    expect(podRoutes()).toEqual(["prohibit 10.128.1.0/24 proto 118 scope global"]);
    expect(routeLines(n1, 6, tables.hosts)).toContain(
      "prohibit fd01::/16 dev lo proto 118 scope global metric 1024 pref medium",
    );
    expect(routeLines(n1, 4, tables.hosts)).toEqual([
      "prohibit 10.128.0.0/9 proto 118 scope global",
      "prohibit 198.18.0.1 proto 118 scope global",
      "throw 10.244.1.0/24 proto 118 scope global",
    ]);
    const asPod = ["from", "198.51.100.1", "iif", "eth0"];
    const { stderr } = n1.exec(["ip", "route", "get", "10.128.200.1", ...asPod]);
    expect(stderr).toContain("Permission denied");
    expect(n1.must(["ip", "route", "get", "10.128.200.1"])).toContain("via 192.0.2.254 dev eth0");
    await importPeers(n1, [paperRecord(1)]);
    expect(podRoutes()).toEqual([
      "prohibit 10.128.1.0/24 proto 118 scope global metric 2147483647",
      "unicast 10.128.1.0/24 dev wg-cni-a proto 118 scope link src 192.0.2.1",
    ]);
  });

  test("in strict mode a peer is refused, not reached in plaintext, when its device has gone", async () => {
    await wgMust(n1, ["up", "--mode", "strict"]);
    await importPeers(n1, [paperRecord(1, { podCIDRs: ["10.128.1.0/24", "fd01:1::/64"] })]);
    const routed = (ip: string) => n1.exec(["ip", "route", "get", ip, "from", "10.244.1.5", "iif", "eth0"]);
    const sent = (ip: string) => n1.exec(["ip", "route", "get", ip]);
    expect(sent("10.128.1.5").stdout).toContain("dev wg-cni-a");
    n1.script([killBehind("wg-cni-a")]);
    for (const answer of [sent("10.128.1.5"), sent("fd01:1::5"), routed("198.18.0.1")])
      expect(answer.stderr).toContain("Permission denied");
    await wgMust(n1, ["sync"]);
    expect(sent("10.128.1.5").stdout).toContain("dev wg-cni-a");
    expect(sent("fd01:1::5").stdout).toContain("dev wg-cni-a");
  });

  test("a zero key is none, also if the slot was announced", async () => {
    const record = paperRecord(1);
    const zeroed = record.slots.map((slot) => ({ ...slot, publicKey: zeroKey }));
    await importPeers(n1, [{ ...record, slots: zeroed }]);
    expect(podRoutes()).toEqual(["throw 10.128.1.0/24 proto 118 scope global"]);
    expect(peersOn("wg-cni-a")).toEqual({});
    await importPeers(n1, [{ ...record, slots: [zeroed[0]!, record.slots[1]!] }]);
    expect(podRoutes()).toEqual(["unicast 10.128.1.0/24 dev wg-cni-b proto 118 scope link src 192.0.2.1"]);
  });

  test("a peer without an endpoint is as one without keys", async () => {
    await importPeers(n1, [paperRecord(1, { endpoints: [] })]);
    expect(podRoutes()).toEqual(["throw 10.128.1.0/24 proto 118 scope global"]);
    expect(peersOn("wg-cni-a")).toEqual({});
  });

  test("a draining slot is left for the other, a withdrawn one is not programmed", async () => {
    const record = paperRecord(1);
    const [a, b] = record.slots as [NodeRecord["slots"][0], NodeRecord["slots"][0]];
    await importPeers(n1, [{ ...record, slots: [{ ...a, state: "draining" }, b] }]);
    expect(podRoutes()[0]).toContain("dev wg-cni-b");
    expect(Object.keys(peersOn("wg-cni-a"))).toEqual([a.publicKey]);
    await importPeers(n1, [{ ...record, slots: [{ ...a, state: "withdrawn" }, b] }]);
    expect(podRoutes()[0]).toContain("dev wg-cni-b");
    expect(peersOn("wg-cni-a")).toEqual({});
  });

  test("of two peers with one key the established keeps it, the second is told why", async () => {
    const thief = paperRecord(2, { slots: paperRecord(1).slots });
    await importPeers(n1, [paperRecord(1)]);
    const { refusedClaims } = await importPeers(n1, [thief]);
    expect(refusedClaims).toHaveLength(2);
    const [owner, second] = await listPeers();
    expect(owner).toMatchObject({ name: "paper-1", slot: "a", refused: [] });
    expect(second?.refused).toEqual([
      `key ${keyOf(2)} of paper-2 is already paper-1's`,
      `key ${keyOf(3)} of paper-2 is already paper-1's`,
    ]);
    expect(peersOn("wg-cni-a")[keyOf(2)]?.allowedIPs).toEqual(["10.128.1.0/24", "198.18.0.1/32"]);
    expect(podRoutes()).toContain("throw 10.128.2.0/24 proto 118 scope global");
    expect((await wgMust(n1, ["peer", "list"])).stdout).toContain("refused: key");
    // The owner lets go, and the other has it at once.
    await wgMust(n1, ["peer", "remove", "paper-1"]);
    expect(peersOn("wg-cni-a")[keyOf(2)]?.allowedIPs).toEqual(["10.128.2.0/24", "198.18.0.2/32"]);
  });

  test("what the node holds itself no peer gets", async () => {
    const own = await wgJson<NodeRecord>(n1, ["node", "show"]);
    const copied = await n1.wg(["peer", "import", "-"], {
      stdin: JSON.stringify(paperRecord(2, { slots: own.slots })),
    });
    expect([copied.exitCode, copied.stderr]).toEqual([2, expect.stringContaining("not of paper-2's slot a")]);
    const { refusedClaims } = await importPeers(n1, [
      paperRecord(1, { podCIDRs: ["10.244.1.128/25"], nodeIPs: ["192.0.2.1"] }),
      paperRecord(2, { slots: own.slots.map(({ proof: _, ...slot }) => slot) }),
    ]);
    expect(refusedClaims.map(({ reason }) => reason).sort()).toEqual([
      ...own.slots.map(({ publicKey }) => `key ${publicKey} of paper-2 is already n1's`).sort(),
      "node IP 192.0.2.1/32 of paper-1 is already n1's",
      "pod CIDR 10.244.1.128/25 of paper-1 overlaps 10.244.1.0/24, which is already n1's",
    ]);
    expect(peersOn("wg-cni-a")[keyOf(2)]?.allowedIPs).toEqual([]);
  });

  const [without, withBoth] = [{ podCIDRs: [] }, { podCIDRs: ["10.128.1.0/24", "10.128.2.0/24"] }];
  test.each([
    ["the old owner lets go first", [paperRecord(1, without), paperRecord(2, withBoth)]],
    ["the new owner claims first", [paperRecord(2, withBoth), paperRecord(1, without)]],
  ])("a CIDR moves to another node when %s", async (_, order) => {
    await importPeers(n1, [paperRecord(1), paperRecord(2)]);
    for (const record of order) await importPeers(n1, [record]);
    expect(peersOn("wg-cni-a")[keyOf(2)]?.allowedIPs).toEqual(["198.18.0.1/32"]);
    expect(peersOn("wg-cni-a")[keyOf(4)]?.allowedIPs).toEqual([
      "10.128.1.0/24",
      "10.128.2.0/24",
      "198.18.0.2/32",
    ]);
    expect((await listPeers()).flatMap(({ refused }) => refused)).toEqual([]);
    expect(podRoutes()).toHaveLength(2);
  });

  test("two nodes exchange their CIDRs in one import", async () => {
    await importPeers(n1, [paperRecord(1), paperRecord(2)]);
    const [one, two] = [paperRecord(1), paperRecord(2)];
    const swapped = [
      { ...one, podCIDRs: two.podCIDRs },
      { ...two, podCIDRs: one.podCIDRs },
    ];
    expect(await importPeers(n1, swapped)).toMatchObject({ failures: [], refusedClaims: [] });
    for (const dev of ["wg-cni-a", "wg-cni-b"] as const) {
      const slot = dev === "wg-cni-a" ? 0 : 1;
      expect(peersOn(dev)[one.slots[slot]!.publicKey]?.allowedIPs).toContain("10.128.2.0/24");
      expect(peersOn(dev)[two.slots[slot]!.publicKey]?.allowedIPs).toContain("10.128.1.0/24");
    }
  });

  test("a peer's keys, endpoint, ports and name of a slot change", async () => {
    await importPeers(n1, [paperRecord(1)]);
    const slots = paperRecord(1).slots.map((slot, i) => ({
      ...slot,
      publicKey: keyOf(90 + i),
      port: 7000 + i,
    }));
    await importPeers(n1, [paperRecord(1, { slots, endpoints: ["198.19.0.1"] })]);
    expect(Object.keys(peersOn("wg-cni-a"))).toEqual([keyOf(90)]);
    expect(peersOn("wg-cni-a")[keyOf(90)]).toMatchObject({
      endpoint: "198.19.0.1:7000",
      allowedIPs: ["10.128.1.0/24", "198.18.0.1/32"],
    });
    expect(peersOn("wg-cni-b")[keyOf(91)]).toMatchObject({ endpoint: "198.19.0.1:7001" });
    expect(await wgJson(n1, ["up", "--persistent-keepalive", "25"])).toMatchObject({ failures: [] });
    expect(peersOn("wg-cni-b")[keyOf(91)]).toMatchObject({ keepalive: "25" });
    await wgMust(n1, ["up", "--persistent-keepalive", "default"]);
    expect(peersOn("wg-cni-b")[keyOf(91)]).toMatchObject({ keepalive: "off" });
  });

  test("a keepalive that changes reaches the peers that are there, on both devices, and nothing else does", async () => {
    await importPeers(n1, [paperRecord(1), paperRecord(2)]);
    const keys = [1, 2].flatMap((index) => [keyOf(2 * index), keyOf(2 * index + 1)]).sort();
    const shown = () =>
      n1
        .must(["wg", "show", "all", "persistent-keepalive"])
        .trim()
        .split("\n")
        .map((line) => line.split("\t") as [string, string, string]);
    const keepalives = () => shown().map(([, , keepalive]) => keepalive);
    expect(keepalives()).toEqual(["off", "off", "off", "off"]);
    for (const [value, seen, word] of [
      ["25", "25", "25"],
      ["0", "off", "off"],
    ] as const) {
      const before = wgDump(n1);
      const { steps, writes } = await wgJson(n1, ["up", "--persistent-keepalive", value]);
      expect(keepalives()).toEqual([seen, seen, seen, seen]);
      expect(
        shown()
          .map(([, key]) => key)
          .sort(),
      ).toEqual(keys);
      expect(steps).toHaveLength(4);
      for (const step of steps) expect(step).toEndWith(` persistent-keepalive ${word}`);
      expect(writes).toBe(2);
      for (const [dev, { peers }] of Object.entries(wgDump(n1)))
        for (const [key, { keepalive: _, ...rest }] of Object.entries(peers))
          expect(before[dev]!.peers[key]!).toMatchObject(rest);
      expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 0, steps: [] });
    }
    await wgMust(n1, ["up", "--persistent-keepalive", "default"]);
  });

  test("NAPI threading is asked of no device that cannot have it: a process's TUN device", async () => {
    await wgMust(n1, ["down"]);
    await wgMust(n1, ["up", "--backend", "userspace"]);
    await importPeers(n1, [paperRecord(1)]);
    for (const value of ["on", "default"])
      expect(await wgJson(n1, ["up", "--napi-threading", value])).toMatchObject({
        ...{ steps: [], failures: [], writes: 0 },
      });
    await wgMust(n1, ["down"]);
    await wgMust(n1, ["up", "--backend", "default"]);
  });

  test("IPv6-only and dual-stack peers; the endpoint is of a family that this node has", async () => {
    await importPeers(n1, [
      paperRecord(1, { endpoints: ["2001:db8::71"], nodeIPs: ["2001:db8::71"], podCIDRs: ["fd01:1::/64"] }),
      paperRecord(2, {
        endpoints: ["2001:db8::72", "198.18.0.2"],
        nodeIPs: ["198.18.0.2", "2001:db8::72"],
        podCIDRs: ["10.128.2.0/24", "fd01:2::/64"],
      }),
    ]);
    expect(peersOn("wg-cni-a")).toMatchObject({
      [keyOf(2)]: { endpoint: "[2001:db8::71]:51820", allowedIPs: ["2001:db8::71/128", "fd01:1::/64"] },
      [keyOf(4)]: {
        endpoint: "198.18.0.2:51820",
        allowedIPs: ["10.128.2.0/24", "198.18.0.2/32", "2001:db8::72/128", "fd01:2::/64"],
      },
    });
    expect(routeLines(n1, 6, tables.hosts)).toHaveLength(2);
  });

  test("300 peers in one import; a change of one is written for that one alone", async () => {
    const many = Array.from({ length: 300 }, (_, i) => paperRecord(i + 1));
    expect(await importPeers(n1, many)).toMatchObject({ failures: [], refusedClaims: [] });
    const expected = new Map(
      many.map(({ slots, endpoints, podCIDRs }) => [
        slots[0]!.publicKey,
        { endpoint: `${endpoints[0]}:51820`, allowedIPs: [...podCIDRs, `${endpoints[0]}/32`].sort() },
      ]),
    );
    const read = () => {
      const peers = Object.entries(peersOn("wg-cni-a"));
      return new Map(peers.map(([key, { endpoint, allowedIPs }]) => [key, { endpoint, allowedIPs }]));
    };
    expect(read()).toEqual(expected);
    expect(podRoutes()).toHaveLength(300);
    expect(routeLines(n1, 4, tables.hosts)).toHaveLength(300);
    expect(await importPeers(n1, many)).toMatchObject({ writes: 0, steps: [] });

    const changed = paperRecord(150, { podCIDRs: ["10.128.150.0/24", "10.250.0.0/24"] });
    const report = await importPeers(n1, [changed]);
    // The allowed IP on two devices, the route, and an element of the two sets that count.
    expect(report.writes).toBe(5);
    expect(report.steps).toEqual([
      // Delivered packets are counted and judged from the first one on.
      "nft 'add element inet wg-cni pods4_in { 10.250.0.0/24 }'",
      "nft 'add element inet wg-cni pods4_out { 10.250.0.0/24 }'",
      `wg set wg-cni-a peer ${keyOf(300)} allowed-ips +10.250.0.0/24`,
      `wg set wg-cni-b peer ${keyOf(301)} allowed-ips +10.250.0.0/24`,
      "ip route replace 10.250.0.0/24 dev wg-cni-a src 192.0.2.1 table 18099 proto 118 scope link",
    ]);
    expected.set(keyOf(300), {
      endpoint: "198.18.0.150:51820",
      allowedIPs: ["10.128.150.0/24", "10.250.0.0/24", "198.18.0.150/32"],
    });
    expect(read()).toEqual(expected);
    const removed = await wgJson(n1, ["peer", "remove", "paper-150"]);
    // Two routes to pods and one to the node, two peers; elements of the four sets that count, the node's, and the
    // node's in those of port checks, one for each port, and of transit.
    expect(removed.writes).toBe(13);
    // Leaves at once what later tests would take minutes for, one by one.
    await wgMust(n1, ["down"]);
    n1.script(["rm /var/lib/wg-cni/state.db*"]);
    await wgMust(n1, ["up", ...n1.upArguments]);
  });
});
