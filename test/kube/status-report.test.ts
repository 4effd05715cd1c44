// The status in the API describes how a node sees its peers, and is written only if it is new.

import { describe, expect, test } from "bun:test";
import type { StatusFacts } from "../../src/kube/conditions.ts";
import { type NodeStatus, planStatus, statusSpacingMs } from "../../src/kube/status-report.ts";
import { covered } from "./facts.ts";

const wallMs = Date.parse("2026-03-01T12:00:00.789Z");
const well: StatusFacts = {
  ...{ ...covered, up: true, mode: "permissive", peers: 3 },
  plaintextWindow: { forMs: 300_000, wantedMs: 300_000, peers: [] },
  keyCreatedAtMs: Date.parse("2026-03-01T06:30:00.123Z"),
};
const plan = (
  change: Partial<StatusFacts> = {},
  before?: unknown,
  atMs = wallMs,
  first: readonly string[] = [],
) => planStatus({ ...well, ...change }, (peer) => first.includes(peer), before, atMs);
const condition = (status: NodeStatus | undefined, type: string) =>
  status?.conditions.find((one) => one.type === type);

test("a node that encrypts to all", () => {
  expect(plan()).toEqual({
    ...{ mode: "permissive", peers: 3, encryptedPeers: 3, keyCreatedAt: "2026-03-01T06:30:00Z" },
    conditions: [
      {
        ...{ type: "NetworkEncrypted", status: "True", reason: "AllPeers" },
        message: "3 peers are reached through the tunnel",
        lastTransitionTime: "2026-03-01T12:00:00Z",
      },
      {
        ...{ type: "RecordAccepted", status: "True", reason: "NoConflict" },
        message: "no other node claimed first what this record claims",
        lastTransitionTime: "2026-03-01T12:00:00Z",
      },
      {
        ...{ type: "Covered", status: "True", reason: "AllPairs" },
        message: "all traffic takes the tunnel, and nothing went in plaintext for 5 min",
        lastTransitionTime: "2026-03-01T12:00:00Z",
      },
    ],
  });
});

describe("encryption", () => {
  test.each([
    [{ peers: 0 }, 0, "True", "NoPeers", "there are no other nodes"],
    [{ peers: 1 }, 1, "True", "AllPeers", "1 peer is reached through the tunnel"],
    [
      { unencrypted: ["n3", "n2"] },
      1,
      "False",
      "PeersInPlaintext",
      "2 of 3 peers not reached through the tunnel: n2, n3",
    ],
    [{ refusedSources: ["192.0.2.9"] }, 3, "True", "AllPeers", "3 peers are reached through the tunnel"],
    [
      { refusedSources: ["198.51.100.9"], lossy: ["n3"] },
      ...[3, "False", "SourcesRefused", expect.stringContaining("packets to n3 are lost in the tunnel")],
    ],
    [{ silent: ["n3"] }, 2, "False", "PeersSilent", "1 of 3 peers does not answer through the tunnel: n3"],
    [
      { unencrypted: ["n2"], silent: ["n2", "n3"] },
      ...[1, "False", "PeersInPlaintext", "1 of 3 peers not reached through the tunnel: n2"],
    ],
    [{ up: false }, 0, "False", "NodeDown", "the node does not encrypt: it is down"],
    [
      { mode: "off", unencrypted: ["n1", "n2", "n3"] },
      0,
      "False",
      "ModeOff",
      "the mode is off: nothing is encrypted",
    ],
    [
      { peers: 9, unencrypted: ["g", "f", "e", "d", "c", "b", "a"] },
      ...[
        2,
        "False",
        "PeersInPlaintext",
        "7 of 9 peers not reached through the tunnel: a, b, c, d, e and 2 more",
      ],
    ],
  ] as [Partial<StatusFacts>, number, string, string, string][])(
    "%j",
    (change, encrypted, status, reason, message) => {
      const planned = plan(change);
      expect(planned?.encryptedPeers).toBe(encrypted);
      expect(condition(planned, "NetworkEncrypted")).toMatchObject({ status, reason, message } as never);
    },
  );
});

describe("coverage", () => {
  const off: Partial<StatusFacts> = { mode: "off", unencrypted: ["n1", "n2", "n3"] };
  const quiet = (forMs: number, peers: readonly string[] = []) => ({
    plaintextWindow: { forMs, wantedMs: 120_000, peers },
  });
  const { plaintextWindow: _, ...uncounted } = well;
  const portGaps = [
    { peer: "n2", port: 51821, direction: "both", isLasting: false },
    { peer: "n3", port: 51820, direction: "in", isLasting: true },
  ] as const;
  test.each([
    [{ up: false }, "False", "NodeDown", "the node does not encrypt: it is down"],
    [off, "True", "AllPairs", "all 3 peers have completed a handshake with this node on both ports"],
    [
      { ...off, unproven: ["n3"] },
      ...["False", "NoHandshake", "1 of 3 peers never completed a handshake with this node: n3"],
    ],
    ...[off, {}].map((mode) => [
      { ...mode, portGaps },
      ...["False", "PortsUnproven"],
      "no handshake with n2 has succeeded on UDP 51821, no port check from n3 has arrived on UDP 51820 of this node; let in UDP 51820 and 51821 between all nodes",
    ]),
    [
      { unprovenAddresses: [{ peer: "n3", claim: "2001:db8::3" }] },
      ...["False", "AddressesUnproven"],
      "pods reach these node IPs outside the tunnel, because no handshake has come from them: 2001:db8::3 of n3",
    ],
    [
      { transit: ["n3"] },
      ...["False", "TransitTraffic"],
      "this node leads on packets of other nodes that came outside the tunnel and are for no address of its own (a service's, or of a network behind it), which strict mode drops; they came from n3",
    ],
    [{ ...off, transit: ["n3"] }, "True", "AllPairs", expect.anything()],
    ...[off, {}].map((mode) => [
      { ...mode, refusedSources: ["198.51.100.9"] },
      ...["False", "SourcesRefused", expect.stringContaining("198.51.100.9")],
    ]),
    [{ peers: 0 }, "True", "NoPeers", "there are no other nodes"],
    [
      { unencrypted: ["n3"], portGaps },
      ...["False", "PeersInPlaintext", "1 of 3 peers not reached through the tunnel: n3"],
    ],
    [
      { silent: ["n2", "n3"] },
      ...["False", "PeersSilent", "2 of 3 peers do not answer through the tunnel: n2, n3"],
    ],
    [
      quiet(119_999, ["n2", "n1"]),
      ...["False", "PacketsInPlaintext", "packets went in plaintext within 2 min, to or from n1, n2"],
    ],
    [
      { ...off, unknownPods: ["10.9.0.7 (veth1)"] },
      "False",
      "UnknownPods",
      "1 pod address of this node is outside the tunnel, not in its record or not routed by it, so other nodes neither send to it that way nor take from it: 10.9.0.7 (veth1)",
    ],
    [
      quiet(119_999),
      ...["False", "JustStarted", "it has counted what goes in plaintext for less than 2 min"],
    ],
    [
      quiet(120_000, ["n1"]),
      ...["True", "AllPairs", "all traffic takes the tunnel, and nothing went in plaintext for 2 min"],
    ],
  ] as [Partial<StatusFacts>, string, string, string][])("%j", (change, status, reason, message) => {
    expect(condition(plan(change), "Covered")).toMatchObject({ status, reason, message } as never);
  });

  test("is not known if nothing counts", () => {
    const planned = planStatus(uncounted, () => false, undefined, wallMs);
    expect(condition(planned, "Covered")).toMatchObject({ status: "False", reason: "NotCounted" });
  });
});

describe("what two records claim", () => {
  const contested = [
    { peer: "n2", claim: "10.2.0.0/24" },
    { peer: "n3", claim: "192.0.2.3/32" },
  ];

  test("is this node's if it had it first", () => {
    expect(condition(plan({ contested }), "RecordAccepted")?.status).toBe("True");
  });

  test("is reported if a peer had it first", () => {
    expect(condition(plan({ contested }, undefined, wallMs, ["n3"]), "RecordAccepted")).toMatchObject({
      ...{ status: "False", reason: "Conflict", message: "192.0.2.3/32 was n3's first" },
    });
  });

  test("may be much, and is said in a bounded text", () => {
    const many = Array.from({ length: 4096 }, (_, n) => ({
      peer: "n2",
      claim: `10.${n >> 8}.${n & 255}.0/24`,
    }));
    const { message } = condition(plan({ contested: many }, undefined, wallMs, ["n2"]), "RecordAccepted")!;
    expect(message).toEndWith(", and 4091 more");
    expect(message.length).toBeLessThan(400);
  });
});

describe("what the API has already", () => {
  const later = wallMs + 3_600_000;
  const shuffled = (status: NodeStatus | undefined) => ({
    unknown: "field",
    ...status,
    conditions: status?.conditions
      .toReversed()
      .map(({ type, ...rest }) => ({ ...rest, observedGeneration: 7, type })),
  });

  test("is not written again, in whatever order it comes back", () => {
    expect(plan({}, shuffled(plan()), later)).toBeUndefined();
  });

  test.each([{ peers: 4 }, { unencrypted: ["n2"] }, { up: false }, { keyCreatedAtMs: wallMs }])(
    "is written where it differs: %j",
    (change) => {
      expect(plan(change, shuffled(plan()), later)).toBeDefined();
    },
  );

  test("a condition keeps its time for as long as its status stands", () => {
    const before = shuffled(plan({ unencrypted: ["n2", "n3"] }));
    const fewer = plan({ unencrypted: ["n2"] }, before, later);
    expect(condition(fewer, "NetworkEncrypted")?.lastTransitionTime).toBe("2026-03-01T12:00:00Z");
    const none = plan({}, shuffled(fewer), later);
    expect(condition(none, "NetworkEncrypted")?.lastTransitionTime).toBe("2026-03-01T13:00:00Z");
    expect(condition(none, "RecordAccepted")?.lastTransitionTime).toBe("2026-03-01T12:00:00Z");
  });

  test("may be anything", () => {
    for (const before of [null, 5, "x", [], {}, { conditions: 5 }, { conditions: [null, 5] }])
      expect(plan({}, before)).toEqual(plan() as NodeStatus);
  });
});

test("all agents together write once a second at most", () => {
  for (const peers of [0, 1, 30, 100, 5000])
    expect((peers + 1) / (statusSpacingMs(peers) / 1000)).toBeLessThanOrEqual(1.1);
  expect([0, 2, 5000].map(statusSpacingMs)).toEqual([30_000, 30_000, 5_000_000]);
});
