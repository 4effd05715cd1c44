// What a node's kernel shows of the ports of its peers, and what is still missing.
import { describe, expect, test } from "bun:test";
import type { NodeRecord, Slot } from "../../../src/net/record.ts";
import { checkSet } from "../../../src/plan/firewall/port-checks.ts";
import type { PeerObservation, SlotObservation } from "../../../src/plan/peers/observation.ts";
import {
  checkPeriodMs,
  findPortGaps,
  type PortEvidences,
  updatePortEvidence,
} from "../../../src/plan/report/port-evidence.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";

const minute = 60_000;
const start = 1_000 * minute;
const slot = (name: Slot, port: number) =>
  ({ slot: name, publicKey: `K${name}`, port, state: "active" }) as const;
const node: NodeRecord = {
  ...{ name: "n1", slots: [slot("a", 51820), slot("b", 51821)], podCIDRs: [] },
  ...{ endpoints: ["192.0.2.1"], nodeIPs: ["192.0.2.1"] },
};
const peer: NodeRecord = {
  ...{ name: "n2", slots: [slot("a", 7001), slot("b", 7002)], podCIDRs: [] },
  ...{ endpoints: ["192.0.2.2"], nodeIPs: ["192.0.2.2", "2001:db8::2"] },
};
const seen = (nowMs: number): SlotObservation => ({
  ...{ publicKey: "K", ownKey: "O", rxBytes: 0, txBytes: 0, lastHandshakeMs: 1 },
  ...{ handshakeAtMs: nowMs, handshakeFrom: "192.0.2.2" },
});
const counted = (a: number, b: number, ip = "192.0.2.2") => {
  const family = ip.includes(":") ? 6 : 4;
  const counter = (packets: number) => new Map([[ip, { packets, bytes: 176 * packets }]]);
  return new Map([
    [checkSet(family, 51820), counter(a)],
    [checkSet(family, 51821), counter(b)],
  ]);
};

interface Reading {
  readonly atMs?: number;
  readonly observation?: PeerObservation;
  readonly checks?: ReturnType<typeof counted>;
  readonly peer?: NodeRecord;
  readonly canCount?: boolean;
}

/** The gaps after each of the readings, as "port direction". */
function gapsAfter(readings: readonly Reading[]): string[][] {
  let evidences: PortEvidences = new Map();
  return readings.map(
    ({ atMs = start, observation = both(atMs), checks, peer: one = peer, canCount = true }) => {
      const observations = new Map([["n2", observation]]);
      const context = { settings: parseSettings({}), node, peers: [one], observations, nowMs: atMs };
      evidences = updatePortEvidence(evidences, context, checks);
      return findPortGaps(evidences, context, canCount).map(({ port, direction }) => `${port} ${direction}`);
    },
  );
}
const both = (nowMs: number): PeerObservation => ({ a: seen(nowMs), b: seen(nowMs) });

describe("a pair", () => {
  test.each<[string, Reading, string[]]>([
    ["is shown by handshakes and port checks on both slots", { checks: counted(1, 1) }, []],
    ["counts what comes from any address of the peer", { checks: counted(1, 1, "2001:db8::2") }, []],
    [
      "lacks the port of the peer without a handshake",
      { observation: { a: seen(start) }, checks: counted(1, 1) },
      ["7002 both"],
    ],
    ["lacks this node's port without a port check", { checks: counted(1, 0) }, ["51821 in"]],
    ["lacks nothing that nobody can count", { checks: counted(0, 0), canCount: false }, []],
    [
      "is not asked for port checks if it sends from another address",
      {
        observation: { a: seen(start), b: { ...seen(start), handshakeFrom: "198.51.100.7" } },
        checks: counted(0, 0),
      },
      [],
    ],
    [
      "has no slot that is withdrawn",
      { observation: { a: seen(start) }, peer: { ...peer, slots: [slot("a", 7001)] }, checks: counted(1, 0) },
      [],
    ],
  ])("%s", (_name, reading, gaps) => {
    expect(gapsAfter([reading])).toEqual([gaps]);
  });
});

describe("evidence", () => {
  const first = { checks: counted(1, 1) };
  const later = start + 3 * minute + 1;

  test("lapses for a peer that is alive and whose port checks stay away", () => {
    expect(gapsAfter([first, { atMs: later, checks: counted(4, 1) }])).toEqual([[], ["51821 in"]]);
  });

  test("stays for a peer that is silent", () => {
    const silent = both(start);
    const atMs = start + 60 * minute;
    expect(gapsAfter([first, { atMs, observation: silent, checks: counted(1, 1) }])).toEqual([[], []]);
  });

  test("stays while the counters are not read, and after a table was made anew", () => {
    expect(
      gapsAfter([first, { atMs: start + minute }, { atMs: start + 2 * minute, checks: counted(0, 0) }]),
    ).toEqual([[], [], []]);
  });

  test("of a handshake stays when the keys change, and ends with the place of the peer", () => {
    const moved = { ...peer, endpoints: ["192.0.2.9"] };
    const keyless = { observation: {} };
    expect(gapsAfter([first, keyless, { ...keyless, peer: moved }])).toEqual([
      [],
      [],
      ["7001 both", "7002 both"],
    ]);
  });
});

test("a node that joins thousands of others has a while until it counts as a gap", () => {
  const peers = Array.from({ length: 5000 }, (_, i) => ({ ...peer, name: `n${i + 2}` }));
  const gapsAt = (atMs: number) => {
    const context = { settings: parseSettings({}), node, peers, observations: new Map(), nowMs: atMs };
    evidences = updatePortEvidence(evidences, context, undefined);
    return findPortGaps(evidences, context, true).length;
  };
  let evidences: PortEvidences = new Map();
  expect([0, 14_000, 15_000].map((ms) => gapsAt(start + ms))).toEqual([0, 0, 10_000]);
});

test("thousands of nodes send fewer port checks, and at least one in five minutes", () => {
  expect([2, 1000, 2000, 5000, 50_000].map(checkPeriodMs)).toEqual([
    60_000, 60_000, 120_000, 300_000, 300_000,
  ]);
});
