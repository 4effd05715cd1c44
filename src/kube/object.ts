// WireGuardNode objects and the node records in them, both ways. An object is
// cluster-scoped, has its Node's name and is owned by that Node, so that it is
// collected with it. What comes from the API was written by others: everything
// is checked as records from anywhere else are (plan/records/record.ts). Pure.
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
  /** Increases with every change, also of what is not the record's. */
  readonly resourceVersion: string;
  /** As the API writes it, by the second; sorts as text. */
  readonly createdAt: string;
  /** Its own; "" where it has none. */
  readonly uid: string;
  /** UID of the Node that owns it; "" where none does. */
  readonly nodeUid: string;
  /** Somebody else than an agent was the last to change its spec. */
  readonly isEditedExternally: boolean;
  readonly verdict: JudgedRecord;
}

/** What is applied for a record. */
export function formatObject(record: NodeRecord, nodeUid: string) {
  const { name, ...spec } = record;
  const ownerReferences = [{ apiVersion: "v1", kind: "Node", name, uid: nodeUid }];
  return { apiVersion, kind, metadata: { name, ownerReferences }, spec };
}

/** How a refused object is called beside refused files. */
export function objectLabel(name: string): string {
  return `wireguardnode/${name}`;
}

/** Judges an object of a list or a watch; undefined for what has no name, which no API server sends. */
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

/** A newer version may have more to say: what is not known here is passed over, as the API's clients do. */
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

/** UID of the Node that an object of this name belongs to. */
function findOwner(references: unknown, name: string): string | undefined {
  if (!Array.isArray(references)) return undefined;
  const owner = references
    .map(asObject)
    .find((one) => one["apiVersion"] === "v1" && one["kind"] === "Node" && one["name"] === name);
  const uid = owner?.["uid"];
  return typeof uid === "string" && uid !== "" ? uid : undefined;
}

/** By metadata.managedFields: each manager with the fields that it has set, by subresource, and when it did last, by the second. */
function isEditedExternally(managedFields: unknown): boolean {
  if (!Array.isArray(managedFields)) return false;
  const writers = managedFields
    .map(asObject)
    .filter(({ subresource = "", fieldsV1 }) => subresource === "" && "f:spec" in asObject(fieldsV1));
  const latest = (isOurs: boolean) =>
    writers
      .filter(({ manager }) => (manager === fieldManager) === isOurs)
      .reduce((last, { time }) => (asText(time) > last ? asText(time) : last), "");
  // Who has set a field to what it is already has a part in it for ever: the last one counts.
  return latest(false) > latest(true);
}

/** True where the API has the record as we would write it. */
export function isPublished(seen: RecordObject | undefined, record: NodeRecord, nodeUid: string): boolean {
  if (seen === undefined || seen.nodeUid !== nodeUid || !("record" in seen.verdict)) return false;
  return JSON.stringify(seen.verdict.record) === JSON.stringify(record);
}

/** True where two sightings say the same of a node, whatever else of the object has changed. */
export function isSameRecord(a: RecordObject, b: RecordObject): boolean {
  return (
    a.nodeUid === b.nodeUid &&
    a.isEditedExternally === b.isEditedExternally &&
    JSON.stringify(a.verdict) === JSON.stringify(b.verdict)
  );
}

/** True where `seen` is older than what is known already: an answer may overtake the watch. Versions are numbers, formally of no meaning. */
export function isOlder(seen: string, known: string): boolean {
  return isDecimal(seen) && isDecimal(known) && BigInt(seen) < BigInt(known);
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
