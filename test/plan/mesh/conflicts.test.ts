// Conflicts of a slot, as a table, and the state of a node without a slot.
import { describe, expect, test } from "bun:test";
import type { Route } from "../../../src/net/objects.ts";
import type { NodeRecord, Slot, SlotState } from "../../../src/net/record.ts";
import {
  findConflicts,
  type HostFacts,
  isForeign,
  type SlotFacts,
  slotConflicts,
} from "../../../src/plan/mesh/conflicts.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import {
  isBarred,
  isKeyless,
  ownSlots,
  reachablePeers,
  resolvePath,
  routeSlot,
} from "../../../src/plan/peers/path.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { readSentences } from "../../docs/support/sentences.ts";

const settings = parseSettings({});

interface Case {
  readonly kind?: string;
  readonly up?: boolean;
  /** "none": a device without a key; absent: nothing that answers. */
  readonly key?: string;
  readonly taken?: boolean;
  readonly isApplied?: boolean;
}

function factsOf({ kind, up = true, key, taken = false, isApplied = false }: Case): SlotFacts {
  return {
    links: new Map(kind === undefined ? [] : [["wg-cni-b", { kind, up }]]),
    devices: new Map(key === undefined ? [] : [["wg-cni-b", key === "none" ? {} : { publicKey: key }]]),
    ownKeys: ["own"],
    isApplied,
    isPortTaken: (port) => taken && port === 51821,
  };
}

const cases: readonly [what: string, given: Case, kind: "device" | "port" | undefined, foreign: boolean][] = [
  ["nothing is there yet", {}, undefined, false],
  ["the port is taken, and there is no device", { taken: true }, "port", false],
  ["our device is up, and has the port", { kind: "wireguard", key: "own", taken: true }, undefined, false],
  [
    "our process's device is there, and has the port",
    { kind: "tun", key: "own", taken: true },
    undefined,
    false,
  ],
  [
    "our device is down, and another has its port",
    { kind: "wireguard", up: false, key: "own", taken: true },
    "port",
    false,
  ],
  [
    "our device is down, and the port is free",
    { kind: "wireguard", up: false, key: "own" },
    undefined,
    false,
  ],
  ["a bridge", { kind: "bridge" }, "device", true],
  ["hardware", { kind: "" }, "device", true],
  ["a bridge, on a node that is running", { kind: "bridge", isApplied: true }, "device", true],
  ["a TUN device without a process that answers", { kind: "tun" }, "device", true],
  ["a WireGuard device that does not answer", { kind: "wireguard" }, "device", true],
  [
    "a foreign key on a TUN device, on a node that is running, which repairs it",
    { kind: "tun", key: "theirs", isApplied: true },
    undefined,
    false,
  ],
  ["a foreign WireGuard device", { kind: "wireguard", key: "theirs" }, "device", true],
  ["a device without a key, of a sync that was killed", { kind: "wireguard", key: "none" }, undefined, false],
  [
    "our device with the key before, on a node that is running",
    { kind: "wireguard", key: "old", isApplied: true },
    undefined,
    false,
  ],
];

test.each(cases)("%s", (_, given, kind, foreign) => {
  const facts = factsOf(given);
  expect(slotConflicts(settings, facts).map((conflict) => [conflict.kind, conflict.slot])).toEqual(
    kind === undefined ? [] : [[kind, "b"]],
  );
  expect(isForeign("wg-cni-b", facts)).toBe(foreign);
});

describe("what is said of conflicts", () => {
  const host = (change: Partial<HostFacts>): HostFacts => ({
    ...{ links: [], rules: [], routes: [], slots: factsOf({}) },
    ...change,
  });
  const route: Route = {
    family: 4,
    table: 18099,
    type: "unicast",
    dst: "10.9.0.0/16",
    scope: "link",
    protocol: 4,
  };
  const calico = { index: 9, name: "wireguard.cali", kind: "wireguard", mtu: 1440, up: true, mac: "" };
  const hosts = [
    ...cases.map(([, given]) => host({ slots: factsOf(given) })),
    host({ links: [calico] }),
    host({ links: [{ ...calico, name: "eth0" }], routes: [{ ...route, protocol: 118 }] }),
    host({ routes: [route] }),
  ];
  const texts = hosts.map((facts) =>
    findConflicts(settings, facts)
      .map(({ text }) => text)
      .join(),
  );
  const clauses = readSentences(`${import.meta.dir}/../../../src/plan/mesh/conflicts.ts`);

  test.each(clauses.map(({ text, pattern }) => [text, pattern] as const))("a case has: %s", (_, pattern) => {
    expect(texts.some((text) => pattern.test(text))).toBe(true);
    expect(texts.every((text) => pattern.test(text))).toBe(false);
  });
});

function record(states: Partial<Record<Slot, SlotState>>): NodeRecord & OwnedPeer {
  const slots = Object.entries(states).map(([slot, state]) => ({
    ...{ slot: slot as Slot, publicKey: slot, port: 51820, state },
  }));
  return { name: "n", slots, endpoints: ["192.0.2.1"], nodeIPs: [], podCIDRs: [] };
}

const routes: readonly [own: [SlotState, SlotState], peer: [SlotState, SlotState], slot: Slot | undefined][] =
  [
    [["active", "active"], ["active", "active"], "a"],
    [["withdrawn", "active"], ["active", "active"], "b"],
    [["active", "withdrawn"], ["active", "active"], "a"],
    [["withdrawn", "active"], ["active", "draining"], "b"],
    [["withdrawn", "active"], ["active", "withdrawn"], undefined],
    [["withdrawn", "withdrawn"], ["active", "active"], undefined],
  ];

test.each(routes)("own slots %j and the peer's %j: traffic takes %s", ([a, b], [peerA, peerB], slot) => {
  const node = record({ a, b });
  const [peer] = reachablePeers(node, [record({ a: peerA, b: peerB })], node);
  expect(routeSlot(node, peer as OwnedPeer)).toBe(slot);
  expect(ownSlots(node)).toEqual(
    (["a", "b"] as const).filter((own) => (own === "a" ? a : b) !== "withdrawn"),
  );
});

const openPath = { candidate: 0, initiate: [], pinned: false };

test.each<
  [name: string, published: [SlotState, SlotState], peer: [SlotState, SlotState], expected: boolean[]]
>([
  ["its peers were told", ["withdrawn", "withdrawn"], ["active", "active"], [true, false]],
  ["its peers were not told", ["active", "active"], ["active", "active"], [false, true]],
  ["one slot is still offered", ["withdrawn", "active"], ["active", "active"], [false, true]],
  ["the peer has no key itself", ["active", "active"], ["withdrawn", "withdrawn"], [true, false]],
])("a node that has lost both slots and was in the tunnel: %s", (_, [a, b], [peerA, peerB], expected) => {
  const lost = record({ a: "withdrawn", b: "withdrawn" });
  const [peer] = reachablePeers(lost, [record({ a: peerA, b: peerB })], record({ a, b })) as [OwnedPeer];
  const inTunnel = new Map([[peer.name, { ...openPath, slot: "a" as const }]]);
  expect([isKeyless(peer), isBarred(peer, inTunnel)]).toEqual(expected);
  // A peer that never was in the tunnel stays reachable in plaintext.
  expect(isBarred(peer, new Map([[peer.name, openPath]]))).toBe(false);
  expect(resolvePath(lost, peer, inTunnel).slot).toBeUndefined();
});
