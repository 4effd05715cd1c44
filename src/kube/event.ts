// Events that tell whoever asks (`kubectl events`) that a record claims what another
// node has: the node that has it says so, and no other, of thousands of agents one. And
// that a node does not follow the cluster's mesh: each for itself. Pure.

import { escapeControls } from "../net/printable.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import type { Contest } from "./conditions.ts";
import { meshName } from "./mesh.ts";
import { apiVersion, kind, type RecordObject } from "./object.ts";

/** Events about what is in no namespace may be in this one. */
export const eventsPath = "/apis/events.k8s.io/v1/namespaces/kube-system/events";

/** `node`: this node, which does not follow the mesh in what `warning` says. */
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

/** `owner`: this node, which has what is claimed; `refused`: the object that claims it too. */
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

/** In microseconds, as Kubernetes writes it. */
function formatTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace("Z", "000Z");
}

/** Of an event's note, in characters. */
const maxNoteLength = 1024;

/** `kubectl` shows it as it is. */
function formatNote(text: string): string {
  return escapeControls(text).slice(0, maxNoteLength);
}

/**
 * Every node that decides so tells it, by the same name: one event for all. `claimant`: the object
 * that has the claim now.
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

/** A node's name may be longer, an event's field may not. */
const maxInstanceLength = 128;

/** The same for the same: told again, it is the event that is there. */
function eventName(owner: string, refused: string, claim: string): string {
  const digest = Bun.hash(`${owner}\n${refused}\n${claim}`).toString(16).padStart(16, "0");
  return `${refused.slice(0, 200).replace(/[^a-z0-9]+$/, "")}.${digest}`;
}
