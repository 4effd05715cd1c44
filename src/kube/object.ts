// Converts between WireGuardNode objects and node records. An object is cluster-scoped, has its Node's
// name and is owned by that Node, so that it is collected with it. Objects of the API were written by
// other nodes, so everything is checked as in any other record (plan/records/record.ts). Pure.
import { ParseError } from "../net/error.ts";
import type { NodeRecord } from "../net/record.ts";
import { type JudgedRecord, rejectRecord, requireSlots } from "../plan/records/directory.ts";
import { parseNodeName, parseRecord } from "../plan/records/record.ts";

export const apiVersion = "wg-cni.dev/v1alpha1";
export const kind = "WireGuardNode";
/** The collection's path; an object's has its name behind it. */
export const objectsPath = "/apis/wg-cni.dev/v1alpha1/wireguardnodes";
/** The owner of the fields that we set (server-side apply). */
export const fieldManager = "wg-cni";

export interface RecordObject {
  readonly name: string;
  /** Increases with every change of the object, also outside the record. */
  readonly resourceVersion: string;
  /** The time as the API writes it, by the second; it sorts as text. */
  readonly createdAt: string;
  /** UID of the object; "" if it has none. */
  readonly uid: string;
  /** UID of the Node that owns it; "" if none does. */
  readonly nodeUid: string;
  /** True if another writer than an agent changed its spec last. */
  readonly isEditedExternally: boolean;
  readonly verdict: JudgedRecord;
}

/** Formats the object that is applied for a record. */
export function formatObject(record: NodeRecord, nodeUid: string) {
  const { name, ...spec } = record;
  const ownerReferences = [{ apiVersion: "v1", kind: "Node", name, uid: nodeUid }];
  return { apiVersion, kind, metadata: { name, ownerReferences }, spec };
}

/** Name of an object in the list of rejected records. */
export function objectLabel(name: string): string {
  return `wireguardnode/${name}`;
}

/** Judges an object of a list or a watch; returns undefined if it has no name, which no API server sends. */
export function judgeObject(json: unknown): RecordObject | undefined {
  const metadata = asObject(asObject(json)["metadata"]);
  const { name, uid, resourceVersion, creationTimestamp } = metadata;
  if (typeof name !== "string" || name === "") return undefined;
  const nodeUid = findOwner(metadata["ownerReferences"], name);
  return {
    name,
    resourceVersion: asText(resourceVersion),
    createdAt: asText(creationTimestamp),
    uid: asText(uid),
    nodeUid: nodeUid ?? "",
    isEditedExternally: isEditedExternally(metadata["managedFields"]),
    verdict: judge(name, nodeUid, asObject(json)["spec"]),
  };
}

function judge(name: string, nodeUid: string | undefined, spec: unknown): JudgedRecord {
  if (nodeUid === undefined)
    return rejectRecord(
      `it is not owned by Node ${name}, so it would outlive it: the agent of ${name} writes it with an owner`,
    );
  try {
    const record = parseRecord(recordOf(parseNodeName(name, "metadata.name"), spec), "spec");
    requireSlots(spec, "spec");
    return { record };
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return rejectRecord(error.message);
  }
}

/** Ignores unknown fields, which a newer version may write, as clients of the API do. */
function recordOf(name: string, spec: unknown): unknown {
  if (!isObject(spec)) throw new ParseError("spec: is missing");
  const { slots, endpoints, nodeIPs, podCIDRs, wantsHandshakeFrom } = spec;
  const known = { endpoints, nodeIPs, podCIDRs, wantsHandshakeFrom };
  return { name, slots: Array.isArray(slots) ? slots.map(slotOf) : slots, ...known };
}

function slotOf(json: unknown): unknown {
  if (!isObject(json)) return json;
  const { slot, publicKey, port, state, proof } = json;
  return { slot, publicKey, port, state, proof };
}

/** Returns the UID of the Node that an object of this name belongs to. */
function findOwner(references: unknown, name: string): string | undefined {
  if (!Array.isArray(references)) return undefined;
  const owner = references
    .map(asObject)
    .find((one) => one["apiVersion"] === "v1" && one["kind"] === "Node" && one["name"] === name);
  const uid = owner?.["uid"];
  return typeof uid === "string" && uid !== "" ? uid : undefined;
}

/** Reads metadata.managedFields: each manager with the fields that it has set, by subresource, and the time of its last change in seconds. */
function isEditedExternally(managedFields: unknown): boolean {
  if (!Array.isArray(managedFields)) return false;
  const writers = managedFields
    .map(asObject)
    .filter(({ subresource = "", fieldsV1 }) => subresource === "" && "f:spec" in asObject(fieldsV1));
  const latest = (isOurs: boolean) =>
    writers
      .filter(({ manager }) => (manager === fieldManager) === isOurs)
      .reduce((last, { time }) => (asText(time) > last ? asText(time) : last), "");
  // A manager that set a field to its present value keeps a part in it forever, so only the latest time counts.
  return latest(false) > latest(true);
}

/** True if the API has the record as we would write it. */
export function isPublished(seen: RecordObject | undefined, record: NodeRecord, nodeUid: string): boolean {
  if (seen === undefined || seen.nodeUid !== nodeUid || !("record" in seen.verdict)) return false;
  return JSON.stringify(seen.verdict.record) === JSON.stringify(record);
}

/** True if two states of an object agree in everything that matters for the record. */
export function isSameRecord(a: RecordObject, b: RecordObject): boolean {
  return (
    a.nodeUid === b.nodeUid &&
    a.isEditedExternally === b.isEditedExternally &&
    JSON.stringify(a.verdict) === JSON.stringify(b.verdict)
  );
}

/** True if `seen` is older than `known`: an answer may overtake the watch. Versions are compared as numbers, which the API does not promise formally. */
export function isOlder(seen: string, known: string): boolean {
  return isDecimal(seen) && isDecimal(known) && BigInt(seen) < BigInt(known);
}

/** Returns a text that sorts as the version does; "" for one that is no number. */
export function sortableVersion(resourceVersion: string): string {
  return isDecimal(resourceVersion) ? resourceVersion.padStart(30, "0") : "";
}

function isDecimal(text: string): boolean {
  return /^\d{1,30}$/.test(text);
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function asObject(json: unknown): Record<string, unknown> {
  return isObject(json) ? json : {};
}

function asText(json: unknown): string {
  return typeof json === "string" ? json : "";
}
