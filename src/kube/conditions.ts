// The conditions of this node's WireGuardNode are tables: the first row whose `when` is true gives a
// condition its value. Pure. docs/operations/runbook.md tells operators what to do for each reason.
import { countOf, formatSpan } from "../net/human-format.ts";
import { escapeControls } from "../net/printable.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import type { Mode } from "../plan/settings/settings.ts";

export interface StatusFacts {
  /** False while the node is not to encrypt. */
  readonly up: boolean;
  readonly mode: Mode;
  readonly peers: number;
  /** Names of the peers that are not reached through the tunnel. */
  readonly unencrypted: readonly string[];
  /** Names of the peers that completed no handshake in mode off, so nothing shows that they can be encrypted. */
  readonly unproven: readonly string[];
  /** Absent if plaintext packets are not counted. */
  readonly plaintextWindow?: PlaintextWindowFacts;
  /** Unix milliseconds. */
  readonly keyCreatedAtMs: number;
  /** The claims of peers to keys, CIDRs and addresses that this node has. */
  readonly contested: readonly Contest[];
  /** The claims that passed from a peer without a session to the present one; absent if none has. */
  readonly lapsed?: readonly Lapse[];
  /** Pods of this node whose addresses its record does not have. */
  readonly unknownPods: readonly string[];
  /** Cluster CIDRs that are not obeyed, and why: sentences. */
  readonly refusedCIDRs: readonly string[];
  /** A sentence that says which part of the cluster's mesh is not followed, and why; "" if all of it is. */
  readonly meshWarning: string;
}

export interface PlaintextWindowFacts {
  /** The time for which no plaintext packet was counted. */
  readonly forMs: number;
  /** The required time. */
  readonly wantedMs: number;
  /** Peers of the last plaintext packets; none if counting has just begun. */
  readonly peers: readonly string[];
}

export interface Contest {
  /** Name of the peer. */
  readonly peer: string;
  /** The key, CIDR or address. */
  readonly claim: string;
}

export interface ConditionFacts extends StatusFacts {
  /** The claims that a peer made first and that this node makes too. */
  readonly lost: readonly Contest[];
}

export interface ConditionVerdict {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

export interface ConditionRow {
  readonly when: (facts: ConditionFacts) => boolean;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: (facts: ConditionFacts) => string;
}

/** The API takes 4096 characters of a condition's message, and bounds a status as a whole. */
const maxMessageLength = 1000;
/** A message names at most this many peers, pods or claims. */
const maxNames = 5;

const isDown: ConditionRow = {
  when: ({ up }) => !up,
  ...{ status: "False", reason: "NodeDown" },
  message: () => "the node does not encrypt: it is down",
};
const noPeers: ConditionRow = {
  when: ({ peers }) => peers === 0,
  ...{ status: "True", reason: "NoPeers" },
  message: () => "there are no other nodes",
};
const isInPlaintext: ConditionRow = {
  when: ({ unencrypted }) => unencrypted.length > 0,
  ...{ status: "False", reason: "PeersInPlaintext" },
  message: ({ peers, unencrypted }) =>
    `${unencrypted.length} of ${countOf(peers, "peer")} not reached through the tunnel: ${listNames(unencrypted)}`,
};
const hasLost: ConditionRow = {
  when: ({ lost }) => lost.length > 0,
  ...{ status: "False", reason: "Conflict" },
  message: ({ lost }) => explainLost(lost),
};
const always = () => true;
const windowOf = ({ plaintextWindow }: ConditionFacts) => plaintextWindow as PlaintextWindowFacts;
const wantedOf = (facts: ConditionFacts) => formatSpan(windowOf(facts).wantedMs);

/** The rows of each condition by its type. The last row of each is true of every node. */
export const conditionRows: Readonly<Record<string, readonly ConditionRow[]>> = {
  /** All peers are reached through the tunnel. */
  NetworkEncrypted: [
    isDown,
    noPeers,
    {
      when: ({ mode }) => mode === "off",
      ...{ status: "False", reason: "ModeOff" },
      message: () => "the mode is off: nothing is encrypted",
    },
    isInPlaintext,
    {
      when: always,
      ...{ status: "True", reason: "AllPeers" },
      message: ({ peers }) =>
        `${countOf(peers, "peer")} ${peers === 1 ? "is" : "are"} reached through the tunnel`,
    },
  ],
  /** No other node claimed first what this record claims. */
  RecordAccepted: [
    hasLost,
    {
      when: always,
      ...{ status: "True", reason: "NoConflict" },
      message: () => "no other node claimed first what this record claims",
    },
  ],
  /**
   * A step up from the present mode is safe: peers that completed a handshake can be encrypted to, and
   * traffic that no node sends in plaintext can be refused.
   */
  Covered: [
    isDown,
    hasLost,
    {
      when: ({ unknownPods }) => unknownPods.length > 0,
      ...{ status: "False", reason: "UnknownPods" },
      message: ({ unknownPods }) => explainUnknown(unknownPods),
    },
    {
      when: ({ mode, unproven }) => mode === "off" && unproven.length > 0,
      ...{ status: "False", reason: "NoHandshake" },
      message: ({ unproven, peers }) =>
        `${unproven.length} of ${countOf(peers, "peer")} never completed a handshake with this node: ${listNames(unproven)}`,
    },
    {
      when: ({ mode }) => mode === "off",
      ...{ status: "True", reason: "AllPairs" },
      message: ({ peers }) => `all ${countOf(peers, "peer")} have completed a handshake with this node`,
    },
    isInPlaintext,
    {
      when: ({ refusedCIDRs }) => refusedCIDRs.length > 0,
      ...{ status: "False", reason: "ClusterCIDRRefused" },
      message: ({ refusedCIDRs }) => refusedCIDRs.join(", "),
    },
    noPeers,
    {
      when: ({ plaintextWindow }) => plaintextWindow === undefined,
      ...{ status: "False", reason: "NotCounted" },
      message: () => "nothing counts what goes in plaintext: there is no nftables table",
    },
    {
      when: (facts) => windowOf(facts).forMs >= windowOf(facts).wantedMs,
      ...{ status: "True", reason: "AllPairs" },
      message: (facts) =>
        `all traffic takes the tunnel, and nothing went in plaintext for ${wantedOf(facts)}`,
    },
    {
      when: (facts) => windowOf(facts).peers.length === 0,
      ...{ status: "False", reason: "JustStarted" },
      message: (facts) => `it has counted what goes in plaintext for less than ${wantedOf(facts)}`,
    },
    {
      when: always,
      ...{ status: "False", reason: "PacketsInPlaintext" },
      message: (facts) =>
        `packets went in plaintext within ${wantedOf(facts)}, to or from ${listNames(windowOf(facts).peers)}`,
    },
  ],
};

/** Returns each condition, by the first of its rows that applies. */
export function judgeConditions(facts: ConditionFacts): ConditionVerdict[] {
  return Object.entries(conditionRows).map(([type, rows]) => {
    const { status, reason, message } = rows.find(({ when }) => when(facts)) as ConditionRow;
    return { type, status, reason, message: shorten(escapeControls(message(facts)), maxMessageLength) };
  });
}

function explainUnknown(pods: readonly string[]): string {
  const are = pods.length === 1 ? "is" : "are";
  return `${countOf(pods.length, "pod address")} of this node ${are} outside the tunnel, not in its record or not routed by it, so other nodes neither send to it that way nor take from it: ${listNames(pods)}`;
}

function explainLost(lost: readonly Contest[]): string {
  const shown = lost.slice(0, maxNames).map(({ peer, claim }) => `${claim} was ${peer}'s first`);
  const more = lost.length > maxNames ? `, and ${lost.length - maxNames} more` : "";
  return `${shown.join(", ")}${more}`;
}

function listNames(names: readonly string[]): string {
  const more = names.length > maxNames ? ` and ${names.length - maxNames} more` : "";
  return `${[...names].sort().slice(0, maxNames).join(", ")}${more}`;
}

function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
