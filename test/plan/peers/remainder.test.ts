// The rest of a record after lapses is compared with its definition, and thousands of lapses have a bound.
import { expect, setDefaultTimeout, test } from "bun:test";
import {
  comparePrefixes,
  hostPrefix,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  subtractPrefix,
} from "../../../src/net/prefix.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { type Lapse, planLapses } from "../../../src/plan/peers/lapses.ts";
import { Remainder } from "../../../src/plan/peers/remainder.ts";
import { makeRandom, pick } from "../random.ts";

setDefaultTimeout(60_000);

const bare = { slots: [], endpoints: [] };
const sorted = (prefixes: readonly string[]) => [...prefixes].sort(comparePrefixes);

/** One prefix after the other, each compared with all that is left. */
function naive(record: NodeRecord, prefix: string): NodeRecord {
  const podCIDRs = record.podCIDRs.flatMap((cidr) => {
    if (prefixContains(prefix, cidr)) return [];
    return prefixContains(cidr, prefix) ? subtractPrefix(cidr, prefix) : [cidr];
  });
  return {
    ...record,
    podCIDRs,
    nodeIPs: record.nodeIPs.filter((ip) => !prefixContains(prefix, hostPrefix(ip))),
  };
}

test("the remainder does not depend on the order in which networks are taken away", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = makeRandom(seed);
    const byte = () => Math.floor(random() * 4);
    const networks = ["10.0.0.0/24", "10.0.2.0/24", "10.0.3.0/30", "fd00:1::/60", "fd00:2::1/128"];
    const podCIDRs = networks.filter(() => random() < 0.7);
    let expected: NodeRecord = { ...bare, name: "n1", nodeIPs: ["10.0.0.9", "fd00:1::9"], podCIDRs };
    const remainder = new Remainder(expected);
    for (let i = 0; i < 20; i++) {
      const prefix =
        random() < 0.6
          ? parsePrefix(`10.0.${byte()}.${byte() * 3}/${pick(random, [22, 24, 26, 30, 31, 32])}`)
          : parsePrefix(`fd00:${byte()}::${byte()}/${pick(random, [16, 60, 64, 126, 128])}`);
      const held = [...expected.podCIDRs, ...expected.nodeIPs.map(hostPrefix)];
      const isTouched = held.some((one) => prefixesOverlap(one, prefix));
      expect(remainder.take(prefix), `seed ${seed}: ${prefix}`).toBe(isTouched);
      expected = naive(expected, prefix);
      const { podCIDRs: left, nodeIPs } = remainder.record;
      expect([sorted(left), nodeIPs]).toEqual([sorted(expected.podCIDRs), [...expected.nodeIPs]]);
      for (const [part, whole] of remainder.wholes)
        expect([prefixContains(whole, part), networks.includes(whole)]).toEqual([true, true]);
    }
  }
});

test("of one dead node, so many claims lapse and no more, and a decision with thousands takes no longer than reading them", () => {
  const count = 4096;
  const addresses = Array.from({ length: count }, (_, i) => `fd00:9:0:${i.toString(16)}::1/128`);
  const dead: NodeRecord = { ...bare, name: "dead", nodeIPs: ["192.0.2.2"], podCIDRs: ["fd00:9::/48"] };
  const living: NodeRecord = {
    ...{ name: "living", slots: [], endpoints: ["192.0.2.4"], nodeIPs: ["192.0.2.4"], podCIDRs: addresses },
  };
  const records = new Map([dead, living].map((record) => [record.name, record]));
  const local = { name: "n1", publicKeys: [], nodeIPs: [], podCIDRs: [] };
  const [nowMs, wallMs] = [1e9, 1.8e12];
  const shaken = { publicKey: "", ownKey: "", lastHandshakeMs: 1, rxBytes: 0, txBytes: 0 };
  const observations = new Map([
    ["living", { a: { ...shaken, handshakeAtMs: nowMs - 1000, handshakeFrom: "192.0.2.4" } }],
  ]);
  let lapses: readonly Lapse[] = [];
  // The first pass finds them, the second has them applied, the third would find more.
  for (let pass = 0; pass < 3; pass++) {
    const peers = [...records.values()].map((record, i) => ({
      ...{ record, claimedAt: () => new Map(record.podCIDRs.map((cidr) => [cidr, i])) },
    }));
    const { refusals } = resolveClaims(local, peers, lapses);
    expect(refusals.length).toBe(count);
    const plan = planLapses(
      {
        ...{ node: "n1", refusals, lapses, records, observations, isGiven: () => true },
        askedSinceMs: new Map([["dead", wallMs - 1e6]]),
        askedHereMs: new Map([["dead", nowMs - 1e6]]),
      },
      { nowMs, wallMs },
    );
    lapses = plan.lapses;
    expect(lapses.length).toBe(256);
  }
});
