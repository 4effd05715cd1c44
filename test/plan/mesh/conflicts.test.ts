// Conflicts of a slot, as a table, and the state of a node without a slot.
import { expect, test } from "bun:test";
import type { NodeRecord, Slot, SlotState } from "../../../src/net/record.ts";
import { isForeign, type SlotFacts, slotConflicts } from "../../../src/plan/mesh/conflicts.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import { ownSlots, reachablePeers, routeSlot } from "../../../src/plan/peers/path.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";

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
  const [peer] = reachablePeers(node, [record({ a: peerA, b: peerB })]);
  expect(routeSlot(node, peer as OwnedPeer)).toBe(slot);
  expect(ownSlots(node)).toEqual(
    (["a", "b"] as const).filter((own) => (own === "a" ? a : b) !== "withdrawn"),
  );
});
