// Parses node records from outside (`peer import`, directory, API): everything is checked here, and each
// error names the place: peers[3].podCIDRs[0]. A parsed record has canonical text throughout. Pure.
import IPCIDR from "ip-cidr";
import { attempt, ParseError, parseAt } from "../../net/error.ts";
import { parseIp } from "../../net/ip.ts";
import { parseProof, parsePublicKey, zeroKey } from "../../net/key.ts";
import { comparePrefixes, parseInterfaceAddress, parsePrefix, prefixContains } from "../../net/prefix.ts";
import type { NodeRecord, Slot, SlotRecord, SlotState } from "../../net/record.ts";
import { specialAddress, specialNetwork, widestNetwork } from "../../net/special.ts";
import { suggest } from "../../net/suggest.ts";

/** Bounds of one record; a node with 110 pod IPs of two families is far below. */
const maxCidrs = 4096;
const maxAddresses = 64;
/** A node asks the peers that it does not reach, up to this number. If it reaches none, it asks some, and the rest start handshakes by their own traffic. */
export const maxAsked = 64;

const recordKeys = ["name", "slots", "endpoints", "nodeIPs", "podCIDRs", "wantsHandshakeFrom"];
const slotKeys = ["slot", "publicKey", "port", "state", "proof"];

/**
 * Parses one record or an array of them from JSON. All or nothing: throws
 * ParseError at the first error, also at a name or key that occurs twice.
 */
export function parseRecords(json: unknown): NodeRecord[] {
  const records = Array.isArray(json)
    ? json.map((item, i) => parseRecord(item, `peers[${i}]`))
    : [parseRecord(json, "peer")];
  refuseTwice(
    records.map((record) => record.name),
    "the name",
  );
  refuseTwice(
    records.flatMap((record) => record.slots.map((slot) => slot.publicKey)).filter((key) => key !== zeroKey),
    "the public key",
  );
  return records;
}

/** Parses one record; `path` begins the place in an error. Throws ParseError. */
export function parseRecord(json: unknown, path: string): NodeRecord {
  const object = asObject(json, path, recordKeys);
  const podCIDRs = list(object["podCIDRs"], `${path}.podCIDRs`, maxCidrs, parsePodCidr);
  refuseOverlap(podCIDRs, `${path}.podCIDRs`);
  const asked = list(object["wantsHandshakeFrom"], `${path}.wantsHandshakeFrom`, maxAsked, parseNodeName);
  return {
    name: parseNodeName(object["name"], `${path}.name`),
    slots: parseSlots(object["slots"], `${path}.slots`),
    endpoints: list(object["endpoints"], `${path}.endpoints`, maxAddresses, parseNodeAddress),
    nodeIPs: list(object["nodeIPs"], `${path}.nodeIPs`, maxAddresses, parseNodeAddress),
    podCIDRs,
    ...(asked.length === 0 ? {} : { wantsHandshakeFrom: asked }),
  };
}

/** Parses a node's name as Kubernetes has them (RFC 1123 subdomain). Throws ParseError. */
export function parseNodeName(value: unknown, path: string): string {
  if (typeof value !== "string" || value.length > 253 || !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(value))
    throw new ParseError(
      `${path}: ${show(value)} is not a node name (lower-case letters, digits, "-" and ".", at most 253 characters)`,
    );
  return value;
}

/** Parses an address of a node that other nodes can send to. Throws ParseError. */
export function parseNodeAddress(value: unknown, path: string): string {
  const ip = parseAt(path, () => parseIp(asText(value)));
  const special = specialAddress(ip);
  if (special !== undefined)
    throw new ParseError(`${path}: ${ip} is ${special}; other nodes cannot reach it`);
  return ip;
}

/** Parses a pod CIDR as a person types it; host bits are refused with the network that was probably meant. Throws ParseError. */
export function parsePodCidr(value: unknown, path: string): string {
  const text = asText(value);
  // Thousands of records have canonical CIDRs; only a CIDR that a person typed needs an explanation.
  const cidr = isCanonicalPrefix(text) ? text : parseTypedCidr(text, path);
  if (cidr.endsWith("/0")) throw new ParseError(`${path}: ${cidr} is everything, not the pods of one node`);
  const special = specialAddress(cidr.slice(0, cidr.indexOf("/")));
  if (special !== undefined) throw new ParseError(`${path}: ${cidr} is ${special}, not a network of pods`);
  if (Number(cidr.slice(cidr.indexOf("/") + 1)) < widestNetwork)
    throw new ParseError(
      `${path}: ${cidr} is too wide for the pods of one node; a /${widestNetwork} is the widest that is taken`,
    );
  const inside = specialNetwork(cidr);
  if (inside !== undefined) throw new ParseError(`${path}: ${cidr} ${inside}, which is no network of pods`);
  return cidr;
}

function isCanonicalPrefix(text: string): boolean {
  return attempt(
    ParseError,
    () => parsePrefix(text) === text,
    () => false,
  );
}

function parseTypedCidr(text: string, path: string): string {
  if (!IPCIDR.isValidCIDR(text))
    throw new ParseError(`${path}: ${show(text)} is not a CIDR (expected ADDRESS/LENGTH)`);
  const cidr = parseAt(path, () => parsePrefix(text));
  const network = parseIp(new IPCIDR(text).start<string>());
  if (network !== parseAt(path, () => parseInterfaceAddress(text)).ip)
    throw new ParseError(`${path}: ${text} has host bits set; did you mean ${cidr}?`);
  return cidr;
}

function parseSlots(value: unknown, path: string): SlotRecord[] {
  const slots = list(value, path, 2, (item, itemPath): SlotRecord => {
    const object = asObject(item, itemPath, slotKeys);
    const { publicKey, proof } = object;
    return {
      slot: choice<Slot>(object["slot"], `${itemPath}.slot`, ["a", "b"]),
      publicKey: parseAt(`${itemPath}.publicKey`, () => parsePublicKey(asText(publicKey))),
      port: parsePort(object["port"], `${itemPath}.port`),
      state: choice<SlotState>(object["state"], `${itemPath}.state`, ["active", "draining", "withdrawn"]),
      ...(proof === undefined
        ? {}
        : { proof: parseAt(`${itemPath}.proof`, () => parseProof(asText(proof))) }),
    };
  });
  if (slots.length === 2 && slots[0]?.slot === slots[1]?.slot)
    throw new ParseError(`${path}: slot "${slots[0]?.slot}" is there twice`);
  const [first, second] = slots;
  if (first !== undefined && first.publicKey === second?.publicKey && first.publicKey !== zeroKey)
    throw new ParseError(`${path}: both slots have the public key ${first.publicKey}`);
  return slots;
}

function parsePort(value: unknown, path: string): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 65535)
    throw new ParseError(`${path}: ${show(value)} is not a UDP port (1 to 65535)`);
  return value;
}

function choice<T extends string>(value: unknown, path: string, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T;
  throw new ParseError(`${path}: ${show(value)} is not one of ${choices.map((c) => `"${c}"`).join(", ")}`);
}

/** Reads a list; an absent one is empty. */
function list<T>(value: unknown, path: string, max: number, parse: (item: unknown, path: string) => T): T[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new ParseError(`${path}: must be a list, not ${show(value)}`);
  if (value.length > max)
    throw new ParseError(`${path}: has ${value.length} entries, at most ${max} are taken`);
  return value.map((item, i) => parse(item, `${path}[${i}]`));
}

function asObject(value: unknown, path: string, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ParseError(`${path}: must be an object, not ${show(value)}`);
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const near = suggest(key, known);
    throw new ParseError(
      `${path}: unknown key ${show(key)}${near === undefined ? "" : `; did you mean "${near}"?`}`,
    );
  }
  return value as Record<string, unknown>;
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : show(value);
}

function refuseTwice(values: readonly string[], what: string): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(value))
      throw new ParseError(`${what} ${value} is there twice; a record each node, a key each slot`);
    seen.add(value);
  }
}

/** Refuses overlaps. In sorted order, overlapping prefixes stand next to each other: a container right before its first part. */
function refuseOverlap(cidrs: readonly string[], path: string): void {
  const sorted = [...cidrs].sort(comparePrefixes);
  for (let i = 1; i < sorted.length; i++) {
    const [wider, narrower] = [sorted[i - 1] as string, sorted[i] as string];
    if (prefixContains(wider, narrower)) throw new ParseError(`${path}: ${narrower} overlaps ${wider}`);
  }
}

/** Shortens a value for a message; lists and objects may be nested too deeply to print. */
function show(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
