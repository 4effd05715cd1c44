// The status of this node's WireGuardNode: how the node sees the others, for
// `kubectl get wireguardnodes` and for whoever waits for a condition. It is coarse
// and seldom written: every agent of the cluster hears of each write. Pure.
//
//   NetworkEncrypted  all peers are reached through the tunnel
//   RecordAccepted    nobody who had it first holds what this record claims
//   Covered           seen from here, the next mode of a rollout would lose nothing

import { countOf, formatSpan } from "../net/human-format.ts";
import { escapeControls } from "../net/printable.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import type { Mode } from "../plan/settings/settings.ts";
import { apiVersion, kind } from "./object.ts";

export interface StatusFacts {
  /** False while the node is not to encrypt. */
  readonly up: boolean;
  readonly mode: Mode;
  readonly peers: number;
  /** Names of those that are not reached through the tunnel. */
  readonly unencrypted: readonly string[];
  /** In mode off, those with whom no handshake has shown that they could be. */
  readonly unproven: readonly string[];
  /** Absent where nothing counts what goes in plaintext. */
  readonly plaintextWindow?: PlaintextWindowFacts;
  /** Unix milliseconds. */
  readonly keyCreatedAtMs: number;
  /** What peers claim although this node has it. */
  readonly contested: readonly Contest[];
  /** What has passed from a peer without a session to the one that is there now; absent if nothing has. */
  readonly lapsed?: readonly Lapse[];
  /** Pods of this node whose addresses its record does not have. */
  readonly unknownPods: readonly string[];
  /** Cluster CIDRs that are not obeyed, and why: sentences. */
  readonly refusedCIDRs: readonly string[];
  /** What of the cluster's mesh is not followed, and why: a sentence; "" if all is. */
  readonly meshWarning: string;
}

export interface PlaintextWindowFacts {
  /** For how long nothing has gone in plaintext, as far as is known. */
  readonly forMs: number;
  /** How long that is to be. */
  readonly wantedMs: number;
  /** Peers of what did; none where counting has just begun. */
  readonly peers: readonly string[];
}

export interface Contest {
  /** Name of the peer. */
  readonly peer: string;
  /** The key, CIDR or address. */
  readonly claim: string;
}

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
  /** As the API writes it, by the second. */
  readonly lastTransitionTime: string;
}

export interface NodeStatus {
  /** Of a rollout, the one that the node is in. */
  readonly mode: Mode;
  readonly peers: number;
  readonly encryptedPeers: number;
  readonly keyCreatedAt: string;
  readonly conditions: readonly Condition[];
}

type ConditionVerdict = Omit<Condition, "lastTransitionTime">;

/** The API takes 4096 of a condition's message, and bounds a status as a whole. */
const maxMessageLength = 1000;

/** How many names a message has. */
const maxNames = 5;

/**
 * The status as it should be; undefined where `before`, the API's, says the same. `wasFirst`: of a
 * peer, whether its object is older than this node's, so that what both claim is the peer's on every other node.
 */
export function planStatus(
  facts: StatusFacts,
  wasFirst: (peer: string) => boolean,
  before: unknown,
  wallMs: number,
): NodeStatus | undefined {
  const known = readConditions(before);
  const lost = facts.contested.filter(({ peer }) => wasFirst(peer));
  const verdicts = [judgeEncryption(facts), judgeRecord(lost), judgeCoverage(facts, lost)];
  const conditions = verdicts.map((verdict) => ({
    ...verdict,
    lastTransitionTime: findTransition(known, verdict) ?? formatTime(wallMs),
  }));
  const status = {
    mode: facts.mode,
    peers: facts.peers,
    encryptedPeers: facts.up ? facts.peers - facts.unencrypted.length : 0,
    keyCreatedAt: formatTime(facts.keyCreatedAtMs),
    conditions,
  };
  return isSame(status, before) ? undefined : status;
}

/** What is applied to the status subresource. */
export function formatStatus(name: string, status: NodeStatus) {
  return { apiVersion, kind, metadata: { name }, status };
}

/** How long to leave it as it is: all agents together then write once a second at most, and each hears of that. */
export function statusSpacingMs(peers: number): number {
  return 1000 * Math.max(30, peers);
}

function judgeEncryption({ up, mode, peers, unencrypted }: StatusFacts): ConditionVerdict {
  const verdict = verdictOn("NetworkEncrypted");
  if (!up) return verdict("False", "NodeDown", "the node does not encrypt: it is down");
  if (peers === 0) return verdict("True", "NoPeers", "there are no other nodes");
  if (mode === "off") return verdict("False", "ModeOff", "the mode is off: nothing is encrypted");
  if (unencrypted.length === 0)
    return verdict(
      "True",
      "AllPeers",
      `${countOf(peers, "peer")} ${peers === 1 ? "is" : "are"} reached through the tunnel`,
    );
  return verdict("False", "PeersInPlaintext", explainUnencrypted(peers, unencrypted));
}

function explainUnencrypted(peers: number, unencrypted: readonly string[]): string {
  return `${unencrypted.length} of ${countOf(peers, "peer")} not reached through the tunnel: ${listNames(unencrypted)}`;
}

/** Whether a step up from the present mode is safe: who has shaken hands may be encrypted to, and what nobody sends in plaintext may be refused. */
function judgeCoverage(
  { up, mode, peers, unencrypted, unproven, plaintextWindow, unknownPods, refusedCIDRs }: StatusFacts,
  lost: readonly Contest[],
): ConditionVerdict {
  const verdict = verdictOn("Covered");
  if (!up) return verdict("False", "NodeDown", "the node does not encrypt: it is down");
  if (lost.length > 0) return verdict("False", "Conflict", explainLost(lost));
  if (unknownPods.length > 0) return verdict("False", "UnknownPods", explainUnknown(unknownPods));
  if (mode === "off") {
    if (unproven.length === 0)
      return verdict(
        "True",
        "AllPairs",
        `all ${countOf(peers, "peer")} have completed a handshake with this node`,
      );
    const some = `${unproven.length} of ${countOf(peers, "peer")}`;
    return verdict(
      "False",
      "NoHandshake",
      `${some} never completed a handshake with this node: ${listNames(unproven)}`,
    );
  }
  if (unencrypted.length > 0)
    return verdict("False", "PeersInPlaintext", explainUnencrypted(peers, unencrypted));
  if (refusedCIDRs.length > 0) return verdict("False", "ClusterCIDRRefused", refusedCIDRs.join(", "));
  if (peers === 0) return verdict("True", "NoPeers", "there are no other nodes");
  if (plaintextWindow === undefined)
    return verdict(
      "False",
      "NotCounted",
      "nothing counts what goes in plaintext: there is no nftables table",
    );
  const wanted = formatSpan(plaintextWindow.wantedMs);
  if (plaintextWindow.forMs >= plaintextWindow.wantedMs)
    return verdict(
      "True",
      "AllPairs",
      `all traffic takes the tunnel, and nothing went in plaintext for ${wanted}`,
    );
  if (plaintextWindow.peers.length === 0)
    return verdict("False", "JustStarted", `it has counted what goes in plaintext for less than ${wanted}`);
  const names = listNames(plaintextWindow.peers);
  return verdict(
    "False",
    "PacketsInPlaintext",
    `packets went in plaintext within ${wanted}, to or from ${names}`,
  );
}

function explainUnknown(pods: readonly string[]): string {
  const are = pods.length === 1 ? "is" : "are";
  return `${countOf(pods.length, "pod address")} of this node ${are} outside the tunnel, not in its record or not routed by it, so other nodes neither send to it that way nor take from it: ${listNames(pods)}`;
}

function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function verdictOn(type: string) {
  return (status: "True" | "False", reason: string, message: string): ConditionVerdict => ({
    ...{ type, status, reason, message: shorten(escapeControls(message), maxMessageLength) },
  });
}

function listNames(names: readonly string[]): string {
  const more = names.length > maxNames ? ` and ${names.length - maxNames} more` : "";
  return `${[...names].sort().slice(0, maxNames).join(", ")}${more}`;
}

function judgeRecord(lost: readonly Contest[]): ConditionVerdict {
  const verdict = verdictOn("RecordAccepted");
  if (lost.length === 0)
    return verdict("True", "NoConflict", "no other node claimed first what this record claims");
  return verdict("False", "Conflict", explainLost(lost));
}

function explainLost(lost: readonly Contest[]): string {
  const shown = lost.slice(0, maxNames).map(({ peer, claim }) => `${claim} was ${peer}'s first`);
  const more = lost.length > maxNames ? `, and ${lost.length - maxNames} more` : "";
  return `${shown.join(", ")}${more}`;
}

function findTransition(known: readonly Condition[], { type, status }: ConditionVerdict): string | undefined {
  return known.find((one) => one.type === type && one.status === status)?.lastTransitionTime;
}

function isSame(status: NodeStatus, before: unknown): boolean {
  const { mode, peers, encryptedPeers, keyCreatedAt } = asObject(before);
  const known = readConditions(before);
  return (
    mode === status.mode &&
    peers === status.peers &&
    encryptedPeers === status.encryptedPeers &&
    keyCreatedAt === status.keyCreatedAt &&
    status.conditions.every((one) => known.some((other) => JSON.stringify(one) === JSON.stringify(other)))
  );
}

/** Property by property, so that equal ones have equal text. */
function readConditions(status: unknown): Condition[] {
  const { conditions } = asObject(status);
  if (!Array.isArray(conditions)) return [];
  return conditions.map((json) => {
    const { type, status, reason, message, lastTransitionTime } = asObject(json) as unknown as Condition;
    return { type, status, reason, message, lastTransitionTime };
  });
}

/** By the second, as Kubernetes writes times. */
function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

function asObject(json: unknown): Record<string, unknown> {
  return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
}
