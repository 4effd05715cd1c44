// The status of this node's WireGuardNode describes how the node sees its peers, for
// `kubectl get wireguardnodes` and `kubectl wait`. It is coarse and rarely written,
// because every agent of the cluster receives each write. Pure.
// conditions.ts has its conditions.
import type { Mode } from "../plan/settings/settings.ts";
import { type ConditionVerdict, judgeConditions, type StatusFacts } from "./conditions.ts";
import { apiVersion, kind } from "./object.ts";

export interface Condition extends ConditionVerdict {
  /** The time as the API writes it, by the second. */
  readonly lastTransitionTime: string;
}

export interface NodeStatus {
  /** The mode that the node is in. */
  readonly mode: Mode;
  readonly peers: number;
  readonly encryptedPeers: number;
  readonly keyCreatedAt: string;
  readonly conditions: readonly Condition[];
}

/**
 * Returns the wanted status, or undefined if `before`, the API's, is the same. `wasFirst`: true if a
 * peer's object is older than this node's, so that every other node gives the peer what both claim.
 */
export function planStatus(
  facts: StatusFacts,
  wasFirst: (peer: string) => boolean,
  before: unknown,
  wallMs: number,
): NodeStatus | undefined {
  const known = readConditions(before);
  const lost = facts.contested.filter(({ peer }) => wasFirst(peer));
  const conditions = judgeConditions({ ...facts, lost }).map((verdict) => ({
    ...verdict,
    lastTransitionTime: findTransition(known, verdict) ?? formatTime(wallMs),
  }));
  const status = {
    mode: facts.mode,
    peers: facts.peers,
    encryptedPeers: facts.up ? facts.peers - new Set([...facts.unencrypted, ...facts.silent]).size : 0,
    keyCreatedAt: formatTime(facts.keyCreatedAtMs),
    conditions,
  };
  return isSame(status, before) ? undefined : status;
}

/** True if a condition that the API has as True is not True any more. */
export function isAlarm({ conditions }: NodeStatus, before: unknown): boolean {
  const known = readConditions(before);
  return conditions.some(
    ({ type, status }) =>
      status === "False" && known.some((one) => one.type === type && one.status === "True"),
  );
}

/** Formats the object that is applied to the status subresource. */
export function formatStatus(name: string, status: NodeStatus) {
  return { apiVersion, kind, metadata: { name }, status };
}

/** Returns the minimum time between two writes, so that all agents together write at most once a second. */
export function statusSpacingMs(peers: number): number {
  return 1000 * Math.max(30, peers);
}

/** Returns the time between two looks for something new to write, which cost this node alone. */
export function lookSpacingMs(peers: number): number {
  return Math.max(2000, 10 * peers);
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

/** Copies the properties in a fixed order, so that equal conditions have equal text. */
function readConditions(status: unknown): Condition[] {
  const { conditions } = asObject(status);
  if (!Array.isArray(conditions)) return [];
  return conditions.map((json) => {
    const { type, status, reason, message, lastTransitionTime } = asObject(json) as unknown as Condition;
    return { type, status, reason, message, lastTransitionTime };
  });
}

/** Formats a time in seconds, as Kubernetes does. */
function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

function asObject(json: unknown): Record<string, unknown> {
  return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
}
