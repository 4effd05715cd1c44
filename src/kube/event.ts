// Events (`kubectl events`) about claims and about the mesh. If a record claims what another node has,
// only the node that has it writes the event, so that thousands of agents write one event. If a node
// does not follow the cluster's mesh, it writes an event for itself. Pure.

import { escapeControls } from "../net/printable.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import type { Contest } from "./conditions.ts";
import { meshName } from "./mesh-object.ts";
import { apiVersion, kind, type RecordObject } from "./object.ts";

/** The namespace for events about cluster-scoped objects. */
export const eventsPath = "/apis/events.k8s.io/v1/namespaces/kube-system/events";

/** `node`: this node; `warning`: the part of the mesh that it does not follow, and why. */
export function formatMeshEvent(node: string, warning: string, wallMs: number) {
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: eventName(node, meshName, warning), namespace: "kube-system" },
    eventTime: formatTime(wallMs),
    type: "Warning",
    reason: "MeshRefused",
    action: "Refuse",
    reportingController: "wg-cni.dev/agent",
    reportingInstance: node.slice(0, maxInstanceLength),
    regarding: { apiVersion, kind: "WireGuardMesh", name: meshName },
    note: formatNote(`Node ${node}: ${warning}`),
  };
}

/** `owner`: this node, the owner of the claim; `refused`: the object that claims it, too. */
export function formatEvent(owner: string, refused: RecordObject, { claim }: Contest, wallMs: number) {
  const { name, uid } = refused;
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: eventName(owner, name, claim), namespace: "kube-system" },
    eventTime: formatTime(wallMs),
    type: "Warning",
    reason: "ClaimRefused",
    action: "Refuse",
    reportingController: "wg-cni.dev/agent",
    reportingInstance: owner.slice(0, maxInstanceLength),
    regarding: { apiVersion, kind, name, ...(uid === "" ? {} : { uid }) },
    note: formatNote(
      `${claim} is refused to ${name} by all nodes: ${owner} had it first and keeps it until it lets go.`,
    ),
  };
}

/** Formats a time with microseconds, as Kubernetes does. */
function formatTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace("Z", "000Z");
}

/** The API bounds an event's note to so many characters. */
const maxNoteLength = 1024;

/** Escapes control characters, because `kubectl` prints the note unchanged. */
function formatNote(text: string): string {
  return escapeControls(text).slice(0, maxNoteLength);
}

/**
 * Every node that decides so writes the same event name, so there is one event for all.
 * `claimant`: the object that has the claim now.
 */
export function formatLapseEvent(
  reporter: string,
  claimant: RecordObject,
  { owner, claim }: Lapse,
  wallMs: number,
) {
  const refusal = formatEvent(reporter, claimant, { peer: claimant.name, claim }, wallMs);
  return {
    ...refusal,
    metadata: { ...refusal.metadata, name: eventName(`lapsed from ${owner}`, claimant.name, claim) },
    ...{ type: "Normal", reason: "ClaimLapsed", action: "Accept" },
    note: formatNote(
      `${claim} has passed from ${owner} to ${claimant.name}: ${owner} had no session for 3 min, and ${claimant.name} answers from there.`,
    ),
  };
}

/** The API bounds this field of an event; a node's name may be longer. */
const maxInstanceLength = 128;

/** Equal facts have equal names, so that a repeated report updates the existing event. */
function eventName(owner: string, refused: string, claim: string): string {
  const digest = Bun.hash(`${owner}\n${refused}\n${claim}`).toString(16).padStart(16, "0");
  return `${refused.slice(0, 200).replace(/[^a-z0-9]+$/, "")}.${digest}`;
}
