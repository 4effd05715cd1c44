// A node with three peers as the agent would tell of it, for tests of what is
// made of the facts. Times are fixed.

import type { PeerStatus } from "../../src/plan/report/peer-status.ts";
import type { AgentFacts, ScrapeFacts, SyncFacts } from "../../src/telemetry/facts.ts";
import { Log } from "../../src/telemetry/log.ts";
import { plaintextOf } from "../plan/report/plaintext.ts";

export const nowMs = 1_763_700_000_000;

const addresses = { nodeIPs: [], podCIDRs: [] };

export const peers: readonly PeerStatus[] = [
  {
    name: "n2",
    state: "encrypted",
    reach: "tunnel",
    slot: "a",
    intent: { reach: "tunnel", slot: "a" },
    endpoint: "192.0.2.2:51820",
    lastHandshakeMs: nowMs - 90_500,
    rxBytes: 1000,
    txBytes: 2000,
    plaintext: plaintextOf(0, 3),
    ...addresses,
  },
  {
    name: "n3",
    state: "waiting",
    reach: "plaintext",
    intent: { reach: "plaintext" },
    lastHandshakeMs: 0,
    rxBytes: 0,
    txBytes: 0,
    plaintext: plaintextOf(7, 0),
    ...addresses,
  },
  // A kernel without nftables, and a name that needs escaping.
  {
    name: 'odd "name"\\',
    state: "idle",
    reach: "tunnel",
    slot: "b",
    intent: { reach: "tunnel", slot: "b" },
    endpoint: "[2001:db8::4]:51821",
    lastHandshakeMs: nowMs - 3_600_000,
    rxBytes: 1,
    txBytes: 2,
    ...addresses,
  },
];

export const scraped: ScrapeFacts = {
  node: "n1",
  mode: "permissive",
  backend: "kernel",
  peers,
  arrivals: [
    { interface: "eth0", peerPackets: 7, spoofedPackets: 0, unannouncedPackets: 1 },
    { interface: "veth1", peerPackets: 0, spoofedPackets: 3, unannouncedPackets: 0 },
  ],
  strayPackets: [{ device: "wg-cni-a", packets: 4 }],
  slots: [
    { slot: "a", state: "draining", createdAtMs: nowMs - 86_400_000 },
    { slot: "b", state: "active", createdAtMs: 0 },
  ],
  generation: { desired: 12, programmed: 11 },
  keyRotationSeconds: 86_400,
  rotation: { phase: "draining a", startedAtMs: nowMs - 30_000 },
  hostEncryption: "off",
  refusedClaims: 1,
  rejectedRecords: 2,
  kubernetes: { watching: true, published: false },
};

export const synced: SyncFacts = {
  result: "ok",
  durationMs: 40,
  writes: 3,
  corrections: [
    { do: "writeSysctl", path: "net/ipv4/ip_forward", value: "1" },
    { do: "startUserspace", dev: "wg-cni-a" },
    { do: "startUserspace", dev: "wg-cni-b" },
  ],
  objectCounts: [
    { kind: "peers", desired: 6, programmed: 6 },
    { kind: "routes", desired: 9, programmed: 8 },
  ],
};

/** Facts with a clock that the test turns, and the log's lines. */
export function makeFacts(stateDir: string, collect: AgentFacts["collect"] = () => scraped) {
  const clock = { ms: 0 };
  const facts: AgentFacts = {
    version: "1.2.3",
    stateDir,
    resyncMs: 60_000,
    nowMs: () => nowMs,
    monotonicMs: () => clock.ms,
    collect,
  };
  const { lines, log } = makeLog();
  return { facts, clock, lines, log };
}

export function makeLog() {
  const lines: string[] = [];
  const log = new Log({
    format: "text",
    level: "info",
    write: (line) => lines.push(line),
    now: () => "NOW",
  });
  return { lines, log };
}
