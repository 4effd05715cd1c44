// Claims that lapse: the rule as a table, the rest of a record, and that nothing flaps.
import { describe, expect, test } from "bun:test";
import { hostPrefix, parsePrefix, prefixContains, subtractPrefix } from "../../../src/net/prefix.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { type Lapse, planLapses } from "../../../src/plan/peers/lapses.ts";
import type { ClaimingPeer } from "../../../src/plan/peers/model.ts";
import type { PeerObservation, SlotObservation } from "../../../src/plan/peers/observation.ts";
import { makeRandom } from "../random.ts";
import { ago, now, observation, s } from "./gates.ts";

const wallMs = 1_800_000_000_000;
const local = { name: "n1", publicKeys: [], nodeIPs: ["192.0.2.1"], podCIDRs: ["10.1.0.0/24"] };

function record(name: string, change: Partial<NodeRecord>): NodeRecord {
  return { name, slots: [], endpoints: change.nodeIPs ?? [], nodeIPs: [], podCIDRs: [], ...change };
}

/** Claims in the order of the records. */
function weigh(records: readonly NodeRecord[], lapses: readonly Lapse[] = []) {
  const peers = records.map((one, i): ClaimingPeer => {
    const claims = [...one.podCIDRs, ...one.nodeIPs.map(hostPrefix)];
    return { record: one, claimedAt: () => new Map(claims.map((claim) => [claim, i])) };
  });
  return resolveClaims(local, peers, lapses);
}

const dead = record("dead", { nodeIPs: ["192.0.2.2", "2001:db8::2"], podCIDRs: ["10.2.0.0/30"] });
const living = record("living", { nodeIPs: ["192.0.2.2"], podCIDRs: ["10.4.0.0/24"] });
const sessionFrom = (handshakeFrom: string, seconds = 5): SlotObservation =>
  observation({ handshakeAtMs: ago(seconds), handshakeFrom });

interface Given {
  readonly records?: readonly NodeRecord[];
  readonly lapses?: readonly Lapse[];
  readonly owner?: PeerObservation;
  readonly claimant?: PeerObservation;
  readonly askedHere?: number;
  readonly askedSince?: number;
  readonly isGiven?: boolean;
}

function plan({ records = [dead, living], lapses = [], ...given }: Given) {
  const { askedHere = 30, askedSince = 180, isGiven = true } = given;
  return planLapses(
    {
      ...{ node: "n1", lapses, refusals: weigh(records, lapses).refusals },
      records: new Map(records.map((one) => [one.name, one])),
      observations: new Map([
        ["dead", given.owner ?? { a: observation({ handshakeAtMs: ago(210) }) }],
        ["living", given.claimant ?? { a: sessionFrom("192.0.2.2") }],
      ]),
      askedSinceMs: new Map([["dead", wallMs - askedSince * s]]),
      askedHereMs: new Map([["dead", ago(askedHere)]]),
      isGiven: () => isGiven,
    },
    { nowMs: now, wallMs },
  );
}

const passed = { owner: "dead", claimant: "living", claim: "192.0.2.2/32" };
const podsOf = (cidr: string, endpoint = "192.0.2.4") => [
  dead,
  record("living", { nodeIPs: [endpoint], podCIDRs: [cidr] }),
];

const table: [string, Given, readonly string[]][] = [
  ["a node that is replaced: its address passes", {}, ["192.0.2.2/32"]],
  [
    "the owner's last handshake is not 210 s old",
    { owner: { a: observation({ handshakeAtMs: ago(209) }) } },
    [],
  ],
  [
    "it was heard within 180 s",
    { owner: { a: observation({ handshakeAtMs: ago(290), heardAtMs: ago(179) }) } },
    [],
  ],
  [
    "it has a session on the other slot",
    { owner: { a: observation({ handshakeAtMs: ago(900) }), b: observation({ handshakeAtMs: ago(100) }) } },
    [],
  ],
  ["it was not asked for a handshake long enough", { askedHere: 29 }, []],
  ["it never had one, and was asked for 180 s", { owner: {} }, ["192.0.2.2/32"]],
  ["it never had one, and was asked for less", { owner: {}, askedSince: 179 }, []],
  ["the claimant's handshake is old", { claimant: { a: sessionFrom("192.0.2.2", 150) } }, []],
  ["it came from elsewhere", { claimant: { a: sessionFrom("192.0.2.9") } }, []],
  [
    "it came from another address of the owner's",
    { claimant: { b: sessionFrom("2001:db8::2") } },
    ["192.0.2.2/32"],
  ],
  ["neither Node object nor file gives the claimant the address", { isGiven: false }, []],
  [
    "a pod's address that is used again",
    { records: podsOf("10.2.0.1/32"), claimant: { a: sessionFrom("192.0.2.4") } },
    ["10.2.0.1/32"],
  ],
  [
    "a pod's address, claimed from an address that the claimant is not known to have",
    { records: podsOf("10.2.0.1/32"), claimant: { a: sessionFrom("192.0.2.9") } },
    [],
  ],
  [
    "the whole CIDR",
    { records: podsOf("10.2.0.0/24"), claimant: { a: sessionFrom("192.0.2.4") } },
    ["10.2.0.0/24"],
  ],
];

describe("what the dead may not keep", () => {
  test.each(table)("%s", (_name, given, expected) => {
    const { come, lapses } = plan(given);
    expect(come.map(({ claim }) => claim)).toEqual([...expected]);
    expect(lapses.map(({ claim }) => claim)).toEqual([...expected]);
  });

  test("the owner is asked only if the claimant is there; both are to have a session", () => {
    const asked = plan({ owner: { a: observation({ handshakeAtMs: ago(10) }) } });
    expect([[...asked.asked], [...asked.wanted].sort()]).toEqual([["dead"], ["dead", "living"]]);
    const unseen = plan({ claimant: {} });
    expect([[...unseen.asked], [...unseen.wanted]]).toEqual([[], ["living"]]);
    const notGiven = plan({ isGiven: false });
    expect([[...notGiven.asked], [...notGiven.wanted]]).toEqual([[], []]);
  });

  test("what this node has itself never lapses, and keys never do", () => {
    const thief = record("living", { nodeIPs: ["192.0.2.1"], podCIDRs: ["10.1.0.0/25"] });
    expect(plan({ records: [dead, thief] }).come).toEqual([]);
    const slot = {
      slot: "a",
      publicKey: "AAA/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
      port: 1,
      state: "active",
    } as const;
    const records = [record("dead", { slots: [slot] }), record("living", { slots: [slot] })];
    expect(plan({ records }).come).toEqual([]);
  });

  test("two that want the same are weighed by name, in either order of arrival", () => {
    const other = { ...living, name: "another" };
    for (const records of [
      [dead, living, other],
      [dead, other, living],
    ])
      expect(
        planLapses(
          {
            ...{ node: "n1", lapses: [], refusals: weigh(records).refusals },
            records: new Map(records.map((one) => [one.name, one])),
            observations: new Map(
              ["living", "another"].map((name) => [name, { a: sessionFrom("192.0.2.2") }]),
            ),
            askedSinceMs: new Map([["dead", wallMs - 180 * s]]),
            askedHereMs: new Map([["dead", ago(30)]]),
            isGiven: () => true,
          },
          { nowMs: now, wallMs },
        ).come.map(({ claimant }) => claimant),
      ).toEqual(["another"]);
  });
});

describe("after a claim has lapsed", () => {
  test("the new owner has it, the old one keeps the rest", () => {
    const { peers, refusals } = weigh([dead, living], [passed]);
    expect(peers.map(({ name, nodeIPs }) => [name, nodeIPs])).toEqual([
      ["dead", ["2001:db8::2"]],
      ["living", ["192.0.2.2"]],
    ]);
    expect(refusals.map(({ peer, owner, claim }) => [peer, owner, claim])).toEqual([
      ["dead", "living", "192.0.2.2/32"],
    ]);
  });

  test("of a wider claim only the lapsed part is taken", () => {
    const records = podsOf("10.2.0.1/32");
    const { peers } = weigh(records, [{ ...passed, claim: "10.2.0.1/32" }]);
    expect(peers.map(({ podCIDRs }) => podCIDRs)).toEqual([["10.2.0.0/32", "10.2.0.2/31"], ["10.2.0.1/32"]]);
  });

  test("it stands while the old owner is dead, and when it has a session again", () => {
    for (const owner of [{}, { a: sessionFrom("192.0.2.7") }, { a: sessionFrom("192.0.2.2") }]) {
      const { lapses, come } = plan({ lapses: [passed], owner });
      expect([lapses, come]).toEqual([[passed], []]);
    }
  });

  test("it goes back by the same rule: the new owner has died, and the old one is there", () => {
    const claimant = { a: observation({ handshakeAtMs: ago(400) }) };
    const facts = { lapses: [passed], owner: { a: sessionFrom("192.0.2.2") }, claimant };
    const records = [dead, living];
    const { lapses } = planLapses(
      {
        ...{ node: "n1", lapses: facts.lapses, refusals: weigh(records, facts.lapses).refusals },
        records: new Map(records.map((one) => [one.name, one])),
        observations: new Map([
          ["dead", facts.owner],
          ["living", facts.claimant],
        ]),
        askedSinceMs: new Map([["living", wallMs - 300 * s]]),
        askedHereMs: new Map([["living", ago(60)]]),
        isGiven: () => true,
      },
      { nowMs: now, wallMs },
    );
    expect(lapses).toEqual([]);
    expect(weigh(records, lapses).peers.map(({ nodeIPs }) => nodeIPs.length)).toEqual([2, 0]);
  });

  test("it is forgotten when one of the two claims something else, or has gone", () => {
    const moved = { ...living, nodeIPs: ["192.0.2.9"] };
    expect(plan({ records: [dead, moved], lapses: [passed] }).lapses).toEqual([]);
    expect(plan({ records: [living], lapses: [passed] }).lapses).toEqual([]);
  });
});

test("what is left of a prefix is all of it but the part", () => {
  const random = makeRandom(7);
  for (const [outer, bits, base] of [
    ["10.0.0.0/8", 32, "10."],
    ["fd00::/16", 128, "fd00:"],
  ] as const)
    for (let i = 0; i < 50; i++) {
      const length = 16 + Math.floor(random() * (bits - 15));
      const ip =
        bits === 32
          ? `${base}${[1, 2, 3].map(() => Math.floor(random() * 256)).join(".")}`
          : `${base}:${Math.floor(random() * 65535).toString(16)}`;
      const inner = parsePrefix(`${ip}/${length}`);
      const rest = subtractPrefix(outer, inner);
      expect(rest).toHaveLength(length - Number(outer.split("/")[1]));
      for (const part of rest) {
        expect(prefixContains(outer, part)).toBe(true);
        expect(prefixContains(part, inner) || prefixContains(inner, part)).toBe(false);
      }
      const size = (prefix: string) => 2 ** -Number(prefix.split("/")[1]);
      expect([...rest, inner].reduce((sum, part) => sum + size(part), 0)).toBeCloseTo(size(outer), 12);
    }
});
