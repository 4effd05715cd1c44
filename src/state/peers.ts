// The table `peers` has one row for each node, with the order of its claims. plan/ decides the owner of a
// contested key or CIDR by that order.
import type { NodeRecord, PeerSource, Slot, SlotRecord } from "../net/record.ts";
import { checkSum, noSum, parses, rowSum } from "./checksum.ts";
import type { Connection } from "./connection.ts";
import { bumpGeneration, readGeneration, takeClaimSeqs } from "./meta.ts";
import type { PeerClaims, StoredPeer } from "./model.ts";
import { keepNodeIPProofs } from "./node-ip-proofs.ts";
import { keepFormerOwner } from "./plaintext.ts";

interface PeerRow {
  name: string;
  record: string;
  claims: string;
  source: PeerSource;
  changed_at: number;
  unproven: string | null;
  previous: string | null;
  sum: string;
}

/** Tests if the proof of a node's slot shows that the node has its key. */
export type ProofCheck = (node: string, slot: SlotRecord) => boolean;

const columns = "name, record, claims, source, changed_at, unproven, previous, sum";

/**
 * All peers in the order of their names. `known`: the peers as they were read last; those that have not changed
 * are the same objects, and only changed records are parsed.
 */
export function readPeers(db: Connection, known: ReadonlyMap<string, StoredPeer>): Map<string, StoredPeer> {
  let latest = -1;
  for (const { changedAt } of known.values()) latest = Math.max(latest, changedAt);
  const changed = db.all<PeerRow>(`SELECT ${columns} FROM peers WHERE changed_at > ?`, latest);
  const records = new Map(changed.map((row) => [row.name, row]));
  const rows = db.all<ListRow>("SELECT name, source, unproven FROM peers ORDER BY name");
  const peers = new Map<string, StoredPeer>();
  for (const row of rows) {
    const peer = readPeer(db, row, records.get(row.name), known.get(row.name));
    if (peer !== undefined) peers.set(row.name, peer);
  }
  return peers;
}

type ListRow = Pick<PeerRow, "name" | "source" | "unproven">;

/** Undefined if the peer was added between the two questions. Then the next reading has it. */
function readPeer(
  db: Connection,
  { name, source, unproven: text }: ListRow,
  changed: PeerRow | undefined,
  known: StoredPeer | undefined,
): StoredPeer | undefined {
  if (changed !== undefined) checkRow(db, changed);
  const unproven = parseSlots(db, name, text);
  const record = changed === undefined ? known?.record : parseRecord(db, name, changed.record);
  const changedAt = changed?.changed_at ?? known?.changedAt;
  if (record === undefined || changedAt === undefined) return undefined;
  const isKnown = changed === undefined && known?.source === source;
  if (isKnown && formatSlots(known.unproven) === text) return known;
  return { record, claims: () => readClaims(db, name), unproven, source, changedAt };
}

/** A peer that was removed since claims nothing. */
function readClaims(db: Connection, name: string): PeerClaims {
  const row = findRow(db, name);
  return row === undefined
    ? { keyClaims: [], cidrClaims: [], nodeIPClaims: [] }
    : parseClaims(db, name, row.claims);
}

/**
 * Returns the record that a peer had before its present one, if the present one has given up a CIDR or
 * a node IP. It is needed only if another node owns a claim of the present record.
 */
export function readPreviousRecord(db: Connection, name: string): NodeRecord | undefined {
  const row = findRow(db, name);
  if (row === undefined || row.previous === null) return undefined;
  return db.parseJson(row.previous, `the previous record of peer "${name}"`) as NodeRecord;
}

/** Returns the source of each peer, without reading the records. */
export function readPeerSources(db: Connection): Map<string, PeerSource> {
  const rows = db.all<Pick<PeerRow, "name" | "source">>("SELECT name, source FROM peers");
  return new Map(rows.map(({ name, source }) => [name, source]));
}

/** Adds or replaces records, all or none of them. Returns those that were not there already; an unchanged record changes nothing. */
export function writePeers(
  db: Connection,
  records: readonly NodeRecord[],
  source: PeerSource,
  isProven: ProofCheck,
): NodeRecord[] {
  return db.transaction(() => {
    const changed = records.filter((record) => writePeer(db, record, source, isProven));
    if (changed.length > 0) bumpGeneration(db);
    return changed;
  });
}

/** False if there is no such peer. */
export function deletePeer(db: Connection, name: string): boolean {
  return db.transaction(() => {
    const row = findRow(db, name);
    if (row === undefined) return false;
    keepFormerOwner(db, parseRecord(db, name, row.record));
    db.change("DELETE FROM peers WHERE name = ?", name);
    keepNodeIPProofs(db, name, []);
    bumpGeneration(db);
    return true;
  });
}

/** Slots of a record with a proof that has not been verified yet. */
export function findUnverified(db: Connection, { name, slots }: NodeRecord): SlotRecord[] {
  if (slots.every(({ proof }) => proof === undefined)) return [];
  const row = findRow(db, name);
  const before = row === undefined ? [] : parseRecord(db, name, row.record).slots;
  return slots.filter((slot) => slot.proof !== undefined && !before.some((one) => isSameKey(one, slot)));
}

/** False if it is as it was. */
function writePeer(db: Connection, record: NodeRecord, source: PeerSource, isProven: ProofCheck): boolean {
  const row = findRow(db, record.name);
  const text = encode(record);
  if (row?.record === text && row.source === source) return false;
  const before = row === undefined ? undefined : parseClaims(db, row.name, row.claims);
  const previous = previousOf(row, before, record);
  if (row !== undefined) keepFormerOwner(db, without(parseRecord(db, row.name, row.record), record));
  // The generation that the transaction ends with.
  const changedAt = row?.record === text ? row.changed_at : readGeneration(db) + 1;
  const values = [
    ...[record.name, text, JSON.stringify(claimsOf(db, record, before)), source, changedAt],
    ...[formatSlots(findUnproven(db, row, record, isProven)), previous],
  ];
  const sql = `INSERT OR REPLACE INTO peers (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`;
  db.change(sql, ...values, rowSum(...values));
  // Claims that the peer has given up may be held for it, or be refused to other peers, until its next record.
  const held = previous === null ? [] : (db.parseJson(previous, "a record") as NodeRecord).nodeIPs;
  if (row !== undefined) keepNodeIPProofs(db, record.name, [...record.nodeIPs, ...held]);
  return true;
}

/** A proof that was verified once is not verified again. */
function findUnproven(
  db: Connection,
  row: PeerRow | undefined,
  { name, slots }: NodeRecord,
  isProven: ProofCheck,
): Slot[] {
  const before = row === undefined ? [] : parseRecord(db, name, row.record).slots;
  const unproven = parseSlots(db, name, row?.unproven ?? null);
  const isVerified = (slot: SlotRecord) =>
    before.some((one) => isSameKey(one, slot)) ? !unproven.includes(slot.slot) : isProven(name, slot);
  return slots.filter((slot) => slot.proof !== undefined && !isVerified(slot)).map(({ slot }) => slot);
}

function isSameKey(a: SlotRecord, b: SlotRecord): boolean {
  return a.slot === b.slot && a.publicKey === b.publicKey && a.proof === b.proof;
}

/**
 * The text of the record that is replaced, if the new one has given something up. While a record
 * changes in nothing that it claims, it is compared with the same one as before.
 */
function previousOf(
  row: PeerRow | undefined,
  before: PeerClaims | undefined,
  record: NodeRecord,
): string | null {
  if (row === undefined || before === undefined) return null;
  const cidrs = before.cidrClaims.map(({ cidr }) => cidr);
  const ips = before.nodeIPClaims.map(({ ip }) => ip);
  if (!hasAll(record.podCIDRs, cidrs) || !hasAll(record.nodeIPs, ips)) return row.record;
  return hasAll(cidrs, record.podCIDRs) && hasAll(ips, record.nodeIPs) ? row.previous : null;
}

function hasAll(items: readonly string[], wanted: readonly string[]): boolean {
  const there = new Set(items);
  return wanted.every((item) => there.has(item));
}

/** Claims made before keep their number; new ones follow all that there are. */
function claimsOf(db: Connection, record: NodeRecord, before: PeerClaims | undefined): PeerClaims {
  const keys = new Map(before?.keyClaims.map(({ publicKey, seq }) => [publicKey, seq]));
  const cidrs = new Map(before?.cidrClaims.map(({ cidr, seq }) => [cidr, seq]));
  const ips = new Map(before?.nodeIPClaims.map(({ ip, seq }) => [ip, seq]));
  const publicKeys = new Set(record.slots.map((slot) => slot.publicKey));
  const podCIDRs = new Set(record.podCIDRs);
  const nodeIPs = new Set(record.nodeIPs);
  let next = takeClaimSeqs(db, publicKeys.size + podCIDRs.size + nodeIPs.size);
  const seqOf = (known: Map<string, number>, claim: string) => known.get(claim) ?? next++;
  return {
    keyClaims: Array.from(publicKeys, (publicKey) => ({ publicKey, seq: seqOf(keys, publicKey) })),
    cidrClaims: Array.from(podCIDRs, (cidr) => ({ cidr, seq: seqOf(cidrs, cidr) })),
    nodeIPClaims: Array.from(nodeIPs, (ip) => ({ ip, seq: seqOf(ips, ip) })),
  };
}

function findRow(db: Connection, name: string): PeerRow | undefined {
  const row = db.find<PeerRow>(`SELECT ${columns} FROM peers WHERE name = ?`, name);
  if (row !== undefined) checkRow(db, row);
  return row;
}

function checkRow(db: Connection, row: PeerRow): void {
  const { name, record, claims, source, changed_at, unproven, previous, sum } = row;
  const values = [name, record, claims, source, changed_at, unproven, previous];
  if (sum === noSum && isOfOlderBuild(row)) return;
  checkSum(db, `the record of peer "${name}"`, sum, rowSum(...values));
}

function isOfOlderBuild({ name, record, claims }: PeerRow): boolean {
  const hasName = parses(record, (value) => value["name"] === name && Array.isArray(value["slots"]));
  return hasName && parses(claims, ({ keyClaims }) => Array.isArray(keyClaims));
}

function parseClaims(db: Connection, name: string, text: string): PeerClaims {
  return db.parseJson(text, `the claims of peer "${name}"`) as PeerClaims;
}

/** The pod CIDRs and node IPs of a record that the next one has not. */
function without({ name, podCIDRs, nodeIPs }: NodeRecord, next: NodeRecord) {
  return {
    name,
    podCIDRs: podCIDRs.filter((cidr) => !next.podCIDRs.includes(cidr)),
    nodeIPs: nodeIPs.filter((ip) => !next.nodeIPs.includes(ip)),
  };
}

function parseRecord(db: Connection, name: string, text: string): NodeRecord {
  return db.parseJson(text, `the record of peer "${name}"`) as NodeRecord;
}

function parseSlots(db: Connection, name: string, text: string | null): readonly Slot[] {
  return text === null ? none : (db.parseJson(text, `the slots of peer "${name}"`) as Slot[]);
}

function formatSlots(slots: readonly Slot[]): string | null {
  return slots.length === 0 ? null : JSON.stringify(slots);
}

const none: readonly Slot[] = [];

/** Encodes property by property: equal records must have equal text, whatever made them. */
function encode({ name, slots, endpoints, nodeIPs, podCIDRs, wantsHandshakeFrom }: NodeRecord): string {
  const ordered: NodeRecord = {
    name,
    slots: slots.map(({ slot, publicKey, port, state, proof }) => ({
      ...{ slot, publicKey, port, state },
      ...(proof === undefined ? {} : { proof }),
    })),
    endpoints,
    nodeIPs,
    podCIDRs,
    ...(wantsHandshakeFrom === undefined ? {} : { wantsHandshakeFrom }),
  };
  return JSON.stringify(ordered);
}
