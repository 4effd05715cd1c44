// The identity: this node's name, addresses and sealed keys. It is the one row of `identity`, and the same again in
// a file beside the database, because no other node and no kernel can give a lost one back. Both have a
// number and a checksum, and the newer sound one is the identity: a log that was lost, or came back from a
// backup, brings no earlier one back, and the node does not make itself a new one.
//
//   commit, with its log flushed and written into state.db  ->  identity.json  ->  putIdentity returns
import { findText, rename, replaceFile } from "../linux/file.ts";
import { noSum, parses, rowSum } from "./checksum.ts";
import type { Connection } from "./connection.ts";
import { corruptError, StoreError } from "./error.ts";
import { bumpGeneration } from "./meta.ts";
import type { Identity, IdentitySlot } from "./model.ts";

export const identityCopyName = "identity.json";

/** The identity as it is stored: bytes are base64. */
type StoredIdentity = Omit<Identity, "slots"> & {
  slots: (Omit<IdentitySlot, "sealedPrivateKey"> & { sealedPrivateKey: string })[];
};

/** A stored identity, as text, with its place among those that this node has had. */
export interface Version {
  readonly seq: number;
  readonly data: string;
}

/** "damaged": there was one, and it cannot be read. */
type Found = Version | "damaged" | undefined;

/** Undefined only if the node has none: what cannot be read throws StoreError. */
export function readIdentity(db: Connection): Identity | undefined {
  const newest = findNewest(db);
  if (newest === undefined) return undefined;
  const stored = db.parseJson(newest.data, "the node's identity") as StoredIdentity;
  return {
    ...stored,
    slots: stored.slots.map((slot) => ({
      ...slot,
      sealedPrivateKey: Uint8Array.fromBase64(slot.sealedPrivateKey),
    })),
  };
}

/** It is on disk twice when this returns. */
export function writeIdentity(db: Connection, identity: Identity): void {
  const data = encode(identity);
  db.transaction(() => {
    const newest = findNewest(db);
    if (newest?.data === data) {
      repairIdentity(db);
      return;
    }
    writeRow(db, { seq: (newest?.seq ?? 0) + 1, data });
    bumpGeneration(db);
  });
}

/** Within a transaction. */
export function writeRow(db: Connection, version: Version): void {
  const { seq, data } = version;
  const sql = "INSERT OR REPLACE INTO identity (id, data, seq, sum) VALUES (1, ?, ?, ?)";
  db.change(sql, data, seq, rowSum(seq, data));
  db.keepAtCommit(() => writeCopy(db, version));
}

/** Writes row and file anew if one of them is not the identity. Returns true if one was not. Throws StoreError. */
export function repairIdentity(db: Connection): boolean {
  return db.transaction(() => {
    const newest = findNewest(db);
    if (newest === undefined || (isSame(readRow(db), newest) && isSame(readCopy(db.path), newest)))
      return false;
    writeRow(db, newest);
    return true;
  });
}

function isSame(found: Found, { seq, data }: Version): boolean {
  return typeof found === "object" && found.seq === seq && found.data === data;
}

/** The version that a connection has found sound and newest last: thousands of calls need not read the file each. */
const lastFound = new WeakMap<Connection, Version>();

/** A row that is as it was found last is the newest: the file is written after the row. */
function findNewest(db: Connection): Version | undefined {
  const last = lastFound.get(db);
  if (last !== undefined && isSame(readRow(db), last)) return last;
  const newest = findVersion(db.path, db);
  if (newest !== undefined) lastFound.set(db, newest);
  return newest;
}

/** Without `db` only the copy beside `path` is read. Throws StoreError if there was an identity and none can be read. */
export function findVersion(path: string, db: Connection | undefined): Version | undefined {
  // The row first: if another process writes both in between, the copy is the newer one.
  const row = db === undefined ? "damaged" : readRow(db);
  const copy = readCopy(path);
  const [newest] = [row, copy]
    .flatMap((found) => (typeof found === "object" ? found : []))
    .sort((a, b) => b.seq - a.seq);
  if (newest === undefined && (row === "damaged" || copy === "damaged"))
    throw corruptError(path, `the node's identity is not what was written, and ${identityCopyName} has none`);
  return newest;
}

/**
 * A row without a checksum was written by an older build, which has no copy: after an upgrade under an agent that still
 * runs, or before one, if an older store was brought back. Whatever the copy is, that row came later.
 */
function readRow(db: Connection): Found {
  try {
    const row = db.find<Version & { sum: string }>("SELECT data, seq, sum FROM identity");
    return row?.sum === noSum ? unsummed(row.data, readCopy(db.path)) : checked(row);
  } catch (error) {
    if (error instanceof StoreError && error.kind === "corrupt") return "damaged";
    throw error;
  }
}

function unsummed(data: string, copy: Found): Found {
  const isIdentity = parses(data, ({ slots }) => Array.isArray(slots));
  return isIdentity ? { data, seq: typeof copy === "object" ? copy.seq + 1 : 1 } : "damaged";
}

function readCopy(path: string): Found {
  const text = findText(copyPath(path));
  if (text === undefined) return undefined;
  try {
    return checked(JSON.parse(text) as Version & { sum: string });
  } catch {
    return "damaged";
  }
}

function checked(found: (Version & { readonly sum: string }) | undefined): Found {
  if (found === undefined) return undefined;
  const { seq, data, sum } = found;
  return sum === rowSum(seq, data) ? { seq, data } : "damaged";
}

function writeCopy(db: Connection, { seq, data }: Version): void {
  replaceFile(copyPath(db.path), JSON.stringify({ seq, sum: rowSum(seq, data), data }));
}

/** Renames the copy if it is damaged, so that the node can have an identity again. Throws SysError. */
export function setDamagedCopyAside(path: string): void {
  const copy = copyPath(path);
  if (readCopy(path) === "damaged") rename(copy, `${copy}.damaged`);
}

function copyPath(path: string): string {
  return `${path.slice(0, path.lastIndexOf("/"))}/${identityCopyName}`;
}

/** Encodes property by property: equal identities must have equal text, whatever made them. */
function encode(identity: Identity): string {
  const { name, endpoints, endpointsFound, nodeIPs, nodeIPsFollow, podCIDRs, slots, up } = identity;
  const { leaving, machine } = identity;
  const stored: StoredIdentity = {
    name,
    endpoints,
    endpointsFound,
    nodeIPs,
    nodeIPsFollow,
    podCIDRs,
    slots: slots.map(({ slot, createdAtMs, publicKey, sealedPrivateKey, state, proof, fault }) => ({
      slot,
      createdAtMs,
      publicKey,
      sealedPrivateKey: sealedPrivateKey.toBase64(),
      state,
      ...(proof === undefined ? {} : { proof }),
      ...(fault === undefined ? {} : { fault: { kind: fault.kind, reason: fault.reason } }),
    })),
    up,
    ...(leaving === undefined ? {} : { leaving }),
    ...(machine === undefined ? {} : { machine }),
  };
  return JSON.stringify(stored);
}
