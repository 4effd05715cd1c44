import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ParseError } from "../../../src/net/error.ts";
import { hostPrefix, prefixesOverlap } from "../../../src/net/prefix.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { parseRecords } from "../../../src/plan/records/record.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { cpuMs } from "../../lab/cpu-time.ts";
import { claimingPeers, runs } from "../meshes.ts";
import { key } from "../random.ts";

const good = {
  name: "node-1",
  slots: [{ slot: "a", publicKey: key(1), port: 51820, state: "active" }],
  endpoints: ["192.0.2.1"],
  nodeIPs: ["192.0.2.1", "2001:DB8::1"],
  podCIDRs: ["10.1.0.0/24"],
};

describe("records from outside", () => {
  test("one record or many; canonical text comes out", () => {
    expect(parseRecords(good)[0]?.nodeIPs).toEqual(["192.0.2.1", "2001:db8::1"]);
    expect(parseRecords([good])).toHaveLength(1);
    expect(parseRecords({ name: "node-2" })).toEqual([
      { name: "node-2", slots: [], endpoints: [], nodeIPs: [], podCIDRs: [] },
    ]);
  });

  // [what is wrong, change, sentence]
  const wrong: [string, Record<string, unknown>, string][] = [
    ["name", { name: "Node_1" }, "peers[0].name"],
    ["unknown key", { podCidrs: [] }, 'unknown key "podCidrs"; did you mean "podCIDRs"?'],
    ["CIDR", { podCIDRs: ["10.1/16"] }, "peers[0].podCIDRs[0]"],
    ["host bits", { podCIDRs: ["10.1.0.7/24"] }, "did you mean 10.1.0.0/24?"],
    ["everything", { podCIDRs: ["0.0.0.0/0"] }, "is everything"],
    ["half of everything", { podCIDRs: ["8000::/1"] }, "8000::/1 is too wide for the pods of one node"],
    ["link-local inside", { podCIDRs: ["169.0.0.0/8"] }, "169.0.0.0/8 has 169.254.0.0/16 in it"],
    ["IPv4 as IPv6", { nodeIPs: ["::ffff:192.0.2.1"] }, "is an IPv4 address written as IPv6"],
    [
      "deep nonsense",
      { name: JSON.parse(`${"[".repeat(1e5)}${"]".repeat(1e5)}`) },
      "a list is not a node name",
    ],
    ["loopback", { podCIDRs: ["127.0.0.0/8"] }, "loopback"],
    ["link-local", { endpoints: ["fe80::1"] }, "link-local"],
    ["multicast", { nodeIPs: ["224.0.0.1"] }, "multicast"],
    [
      "overlap",
      { podCIDRs: ["10.1.0.0/16", "10.9.0.0/16", "10.1.2.0/24"] },
      "10.1.2.0/24 overlaps 10.1.0.0/16",
    ],
    [
      "key",
      { slots: [{ ...good.slots[0], publicKey: "x" }] },
      "peers[0].slots[0].publicKey: not a WireGuard key",
    ],
    ["port", { slots: [{ ...good.slots[0], port: 0 }] }, "peers[0].slots[0].port: 0 is not a UDP port"],
    [
      "slot twice",
      { slots: [good.slots[0], { ...good.slots[0], publicKey: key(2) }] },
      'slot "a" is there twice',
    ],
    [
      "one key for both slots",
      { slots: [good.slots[0], { ...good.slots[0], slot: "b" }] },
      "peers[0].slots: both slots have the public key",
    ],
    ["state", { slots: [{ ...good.slots[0], state: "up" }] }, "peers[0].slots[0].state"],
    ["too many", { podCIDRs: Array.from({ length: 5000 }, () => "10.1.0.0/24") }, "at most 4096"],
    ["no list", { endpoints: "192.0.2.1" }, "must be a list"],
  ];
  test.each(wrong)("%s", (_what, change, sentence) => {
    expect(() => parseRecords([{ ...good, ...change }])).toThrow(ParseError);
    expect(() => parseRecords([{ ...good, ...change }])).toThrow(sentence);
  });

  test("a name or a key twice among many is refused as a whole", () => {
    expect(() => parseRecords([good, { ...good, slots: [] }])).toThrow("node-1 is there twice");
    expect(() => parseRecords([good, { ...good, name: "node-2" }])).toThrow("is there twice");
  });
});

describe("who owns what", () => {
  const local = {
    name: "node-0",
    publicKeys: [key(100)],
    nodeIPs: ["192.0.2.100"],
    podCIDRs: ["10.0.0.0/24"],
  };
  const peer = (name: string, seq: number, change: object) => {
    const record = {
      name,
      slots: [],
      endpoints: ["192.0.2.9"],
      nodeIPs: [],
      podCIDRs: [],
      ...change,
    } as ReturnType<typeof parseRecords>[0];
    const claims = [
      ...record.slots.map((slot) => slot.publicKey),
      ...record.podCIDRs,
      ...record.nodeIPs.map(hostPrefix),
    ];
    return { record, claimedAt: () => new Map(claims.map((claim) => [claim, seq])) };
  };
  const slot = (n: number) => ({ slot: "a", publicKey: key(n), port: 51820, state: "active" });

  test("the earlier claimant keeps a CIDR; the later one gets it once it is free, in either order of events", () => {
    const both = resolveClaims(local, [
      peer("node-1", 1, { podCIDRs: ["10.1.0.0/24"] }),
      peer("node-2", 2, { podCIDRs: ["10.1.0.0/24"] }),
    ]);
    expect(both.peers.map((p) => p.podCIDRs)).toEqual([["10.1.0.0/24"], []]);
    expect(both.refusals.map((r) => r.reason)).toEqual([
      "pod CIDR 10.1.0.0/24 of node-2 is already node-1's",
    ]);
    const moved = resolveClaims(local, [
      peer("node-1", 1, {}),
      peer("node-2", 2, { podCIDRs: ["10.1.0.0/24"] }),
    ]);
    expect(moved.peers.map((p) => p.podCIDRs)).toEqual([[], ["10.1.0.0/24"]]);
  });

  test("a narrower and a wider CIDR both lose against an earlier one", () => {
    for (const [first, second] of [
      ["10.1.0.0/16", "10.1.5.0/24"],
      ["10.1.5.0/24", "10.1.0.0/16"],
    ] as const) {
      const { refusals } = resolveClaims(local, [
        peer("node-1", 1, { podCIDRs: [first] }),
        peer("node-2", 2, { podCIDRs: [second] }),
      ]);
      expect(refusals[0]?.reason).toBe(
        `pod CIDR ${second} of node-2 overlaps ${first}, which is already node-1's`,
      );
    }
  });

  test("a copied key leaves its copier keyless, and its owner untouched", () => {
    const { peers } = resolveClaims(local, [
      peer("node-2", 2, { slots: [slot(1)] }),
      peer("node-1", 1, { slots: [slot(1)] }),
    ]);
    expect(peers.map((p) => [p.name, p.slots.length, p.refusedSlots])).toEqual([
      ["node-1", 1, undefined],
      ["node-2", 0, ["a"]],
    ]);
  });

  test("a withdrawn slot, copied or not, offers no key", () => {
    const { peers } = resolveClaims(local, [
      peer("node-2", 2, { slots: [{ ...slot(1), state: "withdrawn" }] }),
      peer("node-1", 1, { slots: [slot(1)] }),
    ]);
    expect(peers.map((p) => p.refusedSlots)).toEqual([undefined, undefined]);
  });

  test("what is this node's own no peer gets, nor a record with this node's name", () => {
    const { peers, refusals } = resolveClaims(local, [
      peer("node-0", 1, { podCIDRs: ["10.50.0.0/24"] }),
      peer("node-1", 1, {
        ...{ slots: [slot(100)], podCIDRs: ["10.0.0.0/16"], nodeIPs: ["192.0.2.100"] },
        endpoints: ["192.0.2.100", "192.0.2.9"],
      }),
    ]);
    expect(peers).toEqual([
      {
        ...{ name: "node-1", slots: [], endpoints: ["192.0.2.9"], nodeIPs: [], podCIDRs: [] },
        refusedSlots: ["a"],
      },
    ]);
    expect(refusals.map((r) => r.owner)).toEqual(["node-0", "node-0", "node-0", "node-0"]);
    expect(refusals.at(-1)?.reason).toBe("endpoint 192.0.2.100 of node-1 is already node-0's");
  });

  test("a zero key is no peer's", () => {
    const zero = { ...slot(1), publicKey: btoa(String.fromCharCode(...new Uint8Array(32))) };
    const { peers, refusals } = resolveClaims(local, [
      peer("node-1", 1, { slots: [zero] }),
      peer("node-2", 1, { slots: [zero] }),
    ]);
    expect(peers.map((p) => p.slots)).toEqual([[], []]);
    expect(refusals).toEqual([]);
  });

  test("whatever is claimed, no two owners overlap, and the order of records does not matter", () => {
    const property = fc.property(claimingPeers, (claimants) => {
      const { peers } = resolveClaims(local, claimants);
      expect(resolveClaims(local, [...claimants].reverse()).peers).toEqual(peers);
      const owned = peers.flatMap((p) =>
        [...p.podCIDRs, ...p.nodeIPs.map(hostPrefix)].map((prefix) => [p.name, prefix] as const),
      );
      for (const [a, x] of owned)
        for (const [b, y] of owned)
          if (a !== b) expect(prefixesOverlap(x, y), `${a} ${x}, ${b} ${y}`).toBe(false);
    });
    fc.assert(property, runs);
  });

  test("10,000 peers with two CIDRs and two addresses are weighed in well under a second", () => {
    const many = Array.from({ length: 10_000 }, (_, i) =>
      peer(`node-${i + 1}`, i, {
        podCIDRs: [`10.${i >> 8}.${i & 255}.0/24`],
        nodeIPs: [`172.16.${i >> 8}.${i & 255}`, `2001:db8::${(i + 1).toString(16)}`],
      }),
    );
    const ms = cpuMs(() => expect(resolveClaims({ ...local, podCIDRs: [] }, many).refusals).toEqual([]));
    // Ten times what it takes here: a quadratic version takes minutes.
    expect(ms).toBeLessThan(5000);
  });
});

describe("settings", () => {
  test("defaults are the design's", () => {
    expect(parseSettings({})).toMatchObject({
      deviceA: "wg-cni-a",
      deviceB: "wg-cni-b",
      portA: 51820,
      portB: 51821,
      rulePriority: 97,
      hostTable: 18098,
      podTable: 18099,
      routeProtocol: 118,
      mode: "permissive",
      fwmark: { mark: 0x20000000, mask: 0x60000000 },
    });
  });
  test("flags' text and JSON mean the same", () => {
    expect(parseSettings({ fwmark: "0x200000/0x300000", portA: "4500" })).toEqual(
      parseSettings({ fwmark: { mark: 0x200000, mask: 0x300000 }, portA: 4500 }),
    );
  });
  const wrong: [Record<string, unknown>, string][] = [
    [{ portA: 70000 }, "portA: 70000 must be a whole number from 1 to 65535"],
    [{ mode: "paranoid" }, 'mode: "paranoid" must be off, permissive or strict'],
    [{ fwmark: "0x3/0x1" }, "fwmark"],
    [{ fwmark: "0x100000/0x100000" }, "a mask of two bits"],
    [{ fwmark: "0x100000/0x700000" }, "a mask of two bits"],
    [{ fwmark: "0x300000/0x300000" }, "one of them as the mark"],
    [{ fwmark: "0x100000" }, "fwmark"],
    [{ podTable: 254 }, "podTable: 254 must not be"],
    [{ portB: 51820 }, "portA and portB must differ"],
    [{ deviceA: "a-name-that-is-too-long" }, "deviceA"],
    [{ clusterCIDRs: ["10.0.0/8"] }, "clusterCIDRs"],
    [{ podtable: 5 }, 'there is no setting "podtable"; did you mean "podTable"?'],
  ];
  test.each(wrong)("%p is refused", (overrides, sentence) => {
    expect(() => parseSettings(overrides)).toThrow(sentence);
  });
});
