// Ownership of prefixes against the definition, prefix by prefix, and its cost where the records of an
// insider have as many lengths as there are.
import { expect, setDefaultTimeout, test } from "bun:test";
import { parsePrefix, prefixContains, prefixesOverlap } from "../../../src/net/prefix.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import { compareSpans, spanContains, spanOf } from "../../../src/net/span.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { holdClaims } from "../../../src/plan/peers/held-claims.ts";
import type { ClaimingPeer } from "../../../src/plan/peers/model.ts";
import { Nesting, PrefixOwners } from "../../../src/plan/peers/prefix-owners.ts";
import { fastestCpuMs } from "../../lab/cpu-time.ts";
import { makeRandom, pick, type Random } from "../random.ts";

setDefaultTimeout(60_000);

/** Few addresses and all lengths, so that much overlaps; groups of digits, whose text would compare as numbers. */
function randomPrefix(random: Random): string {
  if (random() < 0.5) {
    const address = [10, pick(random, [0, 128]), pick(random, [0, 1, 255]), Math.floor(random() * 256)];
    return parsePrefix(`${address.join(".")}/${8 + Math.floor(random() * 25)}`);
  }
  const groups = ["fd00", ...Array.from({ length: 7 }, () => pick(random, ["0", "31", "8000", "ffff"]))];
  return parsePrefix(`${groups.join(":")}/${8 + Math.floor(random() * 121)}`);
}

test("spans order and contain as prefixes do, whatever their family and length", () => {
  const random = makeRandom(1);
  for (let i = 0; i < 3000; i++) {
    const [a, b] = [randomPrefix(random), randomPrefix(random)];
    const [x, y] = [spanOf(a), spanOf(b)];
    expect(spanContains(x, y), `${a} ${b}`).toBe(prefixContains(a, b));
    expect(Math.sign(compareSpans(x, y)) + Math.sign(compareSpans(y, x))).toBe(0);
    expect(compareSpans(x, y) === 0).toBe(a === b);
    if (a !== b && prefixContains(a, b)) expect(compareSpans(x, y)).toBe(-1);
  }
});

test("an owner is found as by a comparison with all that is held, in the same order of preference", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = makeRandom(seed);
    const prefixes = Array.from({ length: 60 }, () => randomPrefix(random));
    const owners = new PrefixOwners(new Nesting(prefixes));
    const held: { owner: string; prefix: string }[] = [];
    for (const prefix of prefixes) {
      const owner = pick(random, ["n1", "n2", "n3", "n4"]);
      const others = held.filter((holder) => holder.owner !== owner);
      const width = ({ prefix: other }: { prefix: string }) => Number(other.split("/")[1]);
      const around = others
        .filter((holder) => prefixContains(holder.prefix, prefix))
        .sort((a, b) => width(a) - width(b));
      const expected =
        others.find((holder) => holder.prefix === prefix) ??
        around[0] ??
        others.find((holder) => prefixContains(prefix, holder.prefix));
      expect(owners.findOther(owner, prefix), `seed ${seed}: ${owner} ${prefix}`).toEqual(expected as never);
      if (expected !== undefined) continue;
      owners.hold({ owner, prefix });
      held.push({ owner, prefix });
    }
  }
});

const nothing = { name: "n0", publicKeys: [], nodeIPs: [], podCIDRs: [] };

function claimant(name: string, seq: number, podCIDRs: readonly string[]): ClaimingPeer {
  const record: NodeRecord = { name, slots: [], endpoints: [], nodeIPs: [], podCIDRs };
  return { record, claimedAt: () => new Map(podCIDRs.map((cidr) => [cidr, seq])) };
}

test("claims are refused as by a comparison of each with all earlier ones", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = makeRandom(seed);
    const peers = Array.from({ length: 6 }, (_, i) => {
      const cidrs = new Set(Array.from({ length: 1 + Math.floor(random() * 8) }, () => randomPrefix(random)));
      return claimant(`n${i + 1}`, i, [...cidrs]);
    });
    const held: { owner: string; prefix: string }[] = [];
    const refused: string[] = [];
    for (const { record } of peers)
      for (const prefix of record.podCIDRs) {
        const isTaken = held.some((h) => h.owner !== record.name && prefixesOverlap(h.prefix, prefix));
        if (isTaken) refused.push(`${record.name} ${prefix}`);
        else held.push({ owner: record.name, prefix });
      }
    const { refusals } = resolveClaims(nothing, peers);
    expect(refusals.map(({ peer, claim }) => `${peer} ${claim}`)).toEqual(refused);
  }
});

/** One prefix of each length from /16 to /128, none in another. */
const allLengths = Array.from({ length: 112 }, (_, i) => {
  const groups = Array.from(
    { length: 8 },
    (_group, group) => (group === 0 ? 0xfc00 : 0) | (group === (15 + i) >> 4 ? 0x8000 >> ((15 + i) & 15) : 0),
  );
  return parsePrefix(`${groups.map((group) => group.toString(16)).join(":")}/${16 + i}`);
});

function cluster(nodes: number): ClaimingPeer[] {
  return Array.from({ length: nodes }, (_, i) =>
    claimant(`n${i + 1}`, i, [`10.${i >> 8}.${i & 255}.0/24`, `fd00:10:${(i + 1).toString(16)}::/64`]),
  );
}

test("a record with every length there is makes a decision no slower, contested or not", () => {
  const hostile = claimant("n9999", 9999, allLengths);
  const contested = claimant("n9998", 9998, ["10.0.8.0/25", "fd00:10:8::/63"]);
  for (const more of [[], [contested]]) {
    const plain = fastestCpuMs(() => resolveClaims(nothing, [...cluster(2000), ...more]));
    const attacked = fastestCpuMs(() => resolveClaims(nothing, [...cluster(2000), ...more, hostile]));
    // With a look-up for each length it was 12 times as long, and 50 times if anything was contested.
    expect(attacked).toBeLessThan(4 * plain + 5);
  }
});

test("a wide network that thousands of owners have parts of costs each of them the same", () => {
  const wide = claimant("n9999", 9999, ["10.0.0.0/8", ...allLengths]);
  const few = fastestCpuMs(() => resolveClaims(nothing, [...cluster(1500), wide]));
  const many = fastestCpuMs(() => resolveClaims(nothing, [...cluster(6000), wide]));
  expect(many).toBeLessThan(12 * few + 20);
});

test("what a contested record of 4096 networks gave up is weighed against a cluster in one pass", () => {
  const before = claimant(
    "n9999",
    1,
    Array.from({ length: 4096 }, (_, i) => `172.16.${i >> 8}.${i & 255}/32`),
  ).record;
  const refusals = [{ peer: "n9999", claim: "10.0.0.0/24", owner: "n1", reason: "" }];
  const time = (nodes: number) => {
    const peers = [...cluster(nodes).map(({ record }) => record), { ...before, podCIDRs: [] }];
    const ownership = { peers, refusals };
    let held: readonly string[] = [];
    const ms = fastestCpuMs(() => {
      held = holdClaims(ownership, nothing, () => before).peers.at(-1)?.podCIDRs ?? [];
    });
    expect(held).toEqual(before.podCIDRs);
    return ms;
  };
  // A comparison of each with all takes twenty seconds at 2000 nodes.
  expect(time(2000)).toBeLessThan(8 * time(100) + 50);
});
