// The conditions of this node's WireGuardNode are tables: the first row whose `when` is true gives a
// condition its value. Pure. docs/operations/runbook.md tells operators what to do for each reason.
import { countOf, formatSpan } from "../net/human-format.ts";
import { escapeControls } from "../net/printable.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import { describePortGap, type PortGap } from "../plan/report/port-evidence.ts";
import type { Mode } from "../plan/settings/settings.ts";

export interface StatusFacts {
  /** False while the node is not to encrypt. */
  readonly up: boolean;
  readonly mode: Mode;
  readonly peers: number;
  /** Names of the peers that are not reached through the tunnel. */
  readonly unencrypted: readonly string[];
  /** Names of the peers that are sent to through the tunnel and do not answer. */
  readonly silent: readonly string[];
  /** Names of the peers that completed no handshake in mode off, so nothing shows that they can be encrypted. */
  readonly unproven: readonly string[];
  /** Ports on which pairs of this node with a peer are not known to work. */
  readonly portGaps: readonly PortGap[];
  /** Names of peers that sent packets through this node to others, outside the tunnel, within the plaintext window. */
  readonly transit: readonly string[];
  /** Sources that packets to peers have had within the plaintext window and that no node takes out of the tunnel. */
  readonly refusedSources: readonly string[];
  /** Names of the peers to which packets with such a source go through the tunnel now. */
  readonly lossy: readonly string[];
  /** Node IPs of peers that no handshake has proven, although the pair has their family. */
  readonly unprovenAddresses: readonly Contest[];
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
const isSilent: ConditionRow = {
  when: ({ silent }) => silent.length > 0,
  ...{ status: "False", reason: "PeersSilent" },
  message: ({ peers, silent }) =>
    `${silent.length} of ${countOf(peers, "peer")} ${silent.length === 1 ? "does" : "do"} not answer through the tunnel: ${listNames(silent)}`,
};
const lacksPorts: ConditionRow = {
  when: ({ portGaps }) => portGaps.length > 0,
  ...{ status: "False", reason: "PortsUnproven" },
  message: ({ portGaps }) => explainPorts(portGaps),
};
const explainSources = ({ refusedSources }: ConditionFacts) =>
  `no node takes packets with the source ${listNames(refusedSources)} out of the tunnel, and this node sends such packets to pods and nodes of the cluster: let the rule of the host that translates their source leave these out`;
const isLossy: ConditionRow = {
  when: ({ lossy }) => lossy.length > 0,
  ...{ status: "False", reason: "SourcesRefused" },
  message: (facts) => `packets to ${listNames(facts.lossy)} are lost in the tunnel: ${explainSources(facts)}`,
};
const hasRefused: ConditionRow = {
  when: ({ refusedSources }) => refusedSources.length > 0,
  ...{ status: "False", reason: "SourcesRefused" },
  message: explainSources,
};
const hasLost: ConditionRow = {
  when: ({ lost }) => lost.length > 0,
  ...{ status: "False", reason: "Conflict" },
  message: ({ lost }) => explainLost(lost),
};
const always = () => true;
const windowOf = ({ plaintextWindow }: ConditionFacts) => plaintextWindow as PlaintextWindowFacts;
const isQuiet = (facts: ConditionFacts) => windowOf(facts).forMs >= windowOf(facts).wantedMs;
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
    isSilent,
    isLossy,
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
   * A step up from the present mode is safe: peers that completed a handshake on each port, and whose own
   * handshakes are let in, can be encrypted to; traffic that no node sends in plaintext can be refused.
   * docs/design/decisions/coverage.md says which fact of the kernel each part is derived from.
   */
  Covered: [
    isDown,
    hasLost,
    {
      when: ({ unknownPods }) => unknownPods.length > 0,
      ...{ status: "False", reason: "UnknownPods" },
      message: ({ unknownPods }) => explainUnknown(unknownPods),
    },
    hasRefused,
    {
      when: ({ mode, unproven }) => mode === "off" && unproven.length > 0,
      ...{ status: "False", reason: "NoHandshake" },
      message: ({ unproven, peers }) =>
        `${unproven.length} of ${countOf(peers, "peer")} never completed a handshake with this node: ${listNames(unproven)}`,
    },
    { ...lacksPorts, when: (facts) => facts.mode === "off" && lacksPorts.when(facts) },
    {
      when: ({ mode }) => mode === "off",
      ...{ status: "True", reason: "AllPairs" },
      message: ({ peers }) =>
        `all ${countOf(peers, "peer")} have completed a handshake with this node on both ports`,
    },
    isInPlaintext,
    isSilent,
    lacksPorts,
    {
      when: ({ refusedCIDRs }) => refusedCIDRs.length > 0,
      ...{ status: "False", reason: "ClusterCIDRRefused" },
      message: ({ refusedCIDRs }) => refusedCIDRs.join(", "),
    },
    noPeers,
    {
      when: ({ transit }) => transit.length > 0,
      ...{ status: "False", reason: "TransitTraffic" },
      message: ({ transit }) =>
        `this node leads on packets of other nodes that came outside the tunnel and are for no address of its own (a service's, or of a network behind it), which strict mode drops; they came from ${listNames(transit)}`,
    },
    {
      when: ({ plaintextWindow }) => plaintextWindow === undefined,
      ...{ status: "False", reason: "NotCounted" },
      message: () => "nothing counts what goes in plaintext: there is no nftables table",
    },
    {
      // Each address takes a handshake of its own, which comes after a while.
      when: (facts) => facts.unprovenAddresses.length > 0 && isQuiet(facts),
      ...{ status: "False", reason: "AddressesUnproven" },
      message: ({ unprovenAddresses }) =>
        `pods reach these node IPs outside the tunnel, because no handshake has come from them: ${listContests(unprovenAddresses)}`,
    },
    {
      when: isQuiet,
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

function explainPorts(gaps: readonly PortGap[]): string {
  const shown = gaps.slice(0, maxNames).map(describePortGap);
  const ports = [...new Set(gaps.map(({ port }) => port))].sort().join(" and ");
  const more = gaps.length > maxNames ? `, and ${gaps.length - maxNames} more` : "";
  return `${shown.join(", ")}${more}; let in UDP ${ports} between all nodes`;
}

function explainLost(lost: readonly Contest[]): string {
  const shown = lost.slice(0, maxNames).map(({ peer, claim }) => `${claim} was ${peer}'s first`);
  const more = lost.length > maxNames ? `, and ${lost.length - maxNames} more` : "";
  return `${shown.join(", ")}${more}`;
}

function listContests(contests: readonly Contest[]): string {
  return listNames(contests.map(({ peer, claim }) => `${claim} of ${peer}`));
}

function listNames(names: readonly string[]): string {
  const more = names.length > maxNames ? ` and ${names.length - maxNames} more` : "";
  return `${[...names].sort().slice(0, maxNames).join(", ")}${more}`;
}

function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
