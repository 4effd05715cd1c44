// The status of this node's WireGuardNode: how the node sees the others, for
// `kubectl get wireguardnodes` and for whoever waits for a condition. It is coarse
// and seldom written: every agent of the cluster hears of each write. Pure.
//
//   NetworkEncrypted  all peers are reached through the tunnel
//   RecordAccepted    nobody who had it first holds what this record claims
import { countOf } from "../net/words.ts";
import { apiVersion, kind } from "./object.ts";

export interface StatusFacts {
  /** False while the node is not to encrypt. */
  readonly up: boolean;
  readonly peers: number;
  /** Names of those that are not reached through the tunnel. */
  readonly unencrypted: readonly string[];
  /** Unix milliseconds. */
  readonly keyCreatedAtMs: number;
  /** What peers claim although this node has it. */
  readonly contested: readonly Contest[];
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
  readonly peers: number;
  readonly encryptedPeers: number;
  readonly keyCreatedAt: string;
  readonly conditions: readonly Condition[];
}

type Verdict = Omit<Condition, "lastTransitionTime">;

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
  const conditions = [judgeEncryption(facts), judgeRecord(lost)].map((verdict) => ({
    ...verdict,
    lastTransitionTime: findTransition(known, verdict) ?? formatTime(wallMs),
  }));
  const status = {
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

function judgeEncryption({ up, peers, unencrypted }: StatusFacts): Verdict {
  const verdict = (status: "True" | "False", reason: string, message: string) => ({
    type: "NetworkEncrypted",
    ...{ status, reason, message },
  });
  if (!up) return verdict("False", "NodeDown", "the node does not encrypt: it is down");
  if (peers === 0) return verdict("True", "NoPeers", "there are no other nodes");
  if (unencrypted.length === 0)
    return verdict(
      "True",
      "AllPeers",
      `${countOf(peers, "peer")} ${peers === 1 ? "is" : "are"} reached through the tunnel`,
    );
  const names = [...unencrypted].sort().slice(0, maxNames).join(", ");
  const more = unencrypted.length > maxNames ? ` and ${unencrypted.length - maxNames} more` : "";
  return verdict(
    "False",
    "PeersInClear",
    `${unencrypted.length} of ${countOf(peers, "peer")} not reached through the tunnel: ${names}${more}`,
  );
}

function judgeRecord(lost: readonly Contest[]): Verdict {
  const type = "RecordAccepted";
  if (lost.length === 0)
    return {
      type,
      status: "True",
      reason: "NoConflict",
      message: "nobody had first what this record claims",
    };
  const shown = lost.slice(0, maxNames).map(({ peer, claim }) => `${claim} was ${peer}'s first`);
  const more = lost.length > maxNames ? `, and ${lost.length - maxNames} more` : "";
  return { type, status: "False", reason: "Conflict", message: `${shown.join(", ")}${more}` };
}

function findTransition(known: readonly Condition[], { type, status }: Verdict): string | undefined {
  return known.find((one) => one.type === type && one.status === status)?.lastTransitionTime;
}

function isSame(status: NodeStatus, before: unknown): boolean {
  const { peers, encryptedPeers, keyCreatedAt } = asObject(before);
  const known = readConditions(before);
  return (
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
