// The agent's decisions: the tables `agent`, `paths` and `rejected_records`.
// Every process programs the kernel from them, so they are written before it.
import { type ClusterHosts, noClusterHosts } from "../net/cluster-hosts.ts";
import type { PeerPath } from "../net/path.ts";
import type { Connection } from "./connection.ts";
import { bumpGeneration } from "./meta.ts";
import type { ClaimLapse, HostRevert, RejectedRecord, Rotation } from "./model.ts";

interface AgentRow {
  gated: number;
  rotation: string | null;
  host_revert: string | null;
}

export function readGated(db: Connection): boolean {
  return readRow(db).gated !== 0;
}

export function writeGated(db: Connection, gated: boolean): void {
  db.transaction(() => {
    if (readGated(db) === gated) return;
    db.change("UPDATE agent SET gated = ?", gated ? 1 : 0);
    if (!gated) db.change("DELETE FROM paths");
    bumpGeneration(db);
  });
}

/** The key of the map is the peer's name. */
export function readPaths(db: Connection): Map<string, PeerPath> {
  const rows = db.all<{ peer: string; path: string }>("SELECT peer, path FROM paths");
  return new Map(
    rows.map(({ peer, path }) => [peer, db.parseJson(path, `the path to peer "${peer}"`) as PeerPath]),
  );
}

/**
 * `durable` is true if a slot changed: a gate that was opened must not be found closed
 * after a power failure. The generation stays: no other process has to act.
 */
export function writePaths(
  db: Connection,
  changed: ReadonlyMap<string, PeerPath | undefined>,
  durable: boolean,
): void {
  if (changed.size === 0) return;
  db.transaction(() => {
    for (const [peer, path] of changed) {
      if (path === undefined) db.change("DELETE FROM paths WHERE peer = ?", peer);
      else db.change("INSERT OR REPLACE INTO paths (peer, path) VALUES (?, ?)", peer, JSON.stringify(path));
    }
    if (durable) db.flushAtCommit();
  });
}

/** An operator lets the peer be reached in plaintext again; false if its gate was closed. */
export function closeGate(db: Connection, peer: string): boolean {
  return db.transaction(() => {
    if (db.change("DELETE FROM paths WHERE peer = ?", peer) === 0) return false;
    bumpGeneration(db);
    return true;
  });
}

export function readRotation(db: Connection): Rotation | undefined {
  return parse<Rotation>(db, readRow(db).rotation, "the rotation that is going on");
}

/** A running agent notices the change by the generation. */
export function writeRotation(db: Connection, rotation: Rotation | undefined): void {
  writeNote(db, "rotation", rotation);
}

export function readHostRevert(db: Connection): HostRevert | undefined {
  return parse<HostRevert>(db, readRow(db).host_revert, "why host encryption was taken back");
}

export function writeHostRevert(db: Connection, revert: HostRevert | undefined): void {
  writeNote(db, "host_revert", revert);
}

export function readLapses(db: Connection): readonly ClaimLapse[] {
  const text = db.find<{ lapses: string | null }>("SELECT lapses FROM agent")?.lapses ?? null;
  return parse<ClaimLapse[]>(db, text, "the claims that have lapsed") ?? [];
}

/** Every process weighs the peers' claims by them. */
export function writeLapses(db: Connection, lapses: readonly ClaimLapse[]): void {
  writeNote(db, "lapses", lapses.length === 0 ? undefined : lapses);
}

export function readClusterHosts(db: Connection): ClusterHosts {
  const text = db.find<{ cluster_hosts: string | null }>("SELECT cluster_hosts FROM agent")?.cluster_hosts;
  return parse<ClusterHosts>(db, text ?? null, "the hosts of the cluster") ?? noClusterHosts;
}

/** Every process judges the peers' claims by them. */
export function writeClusterHosts(db: Connection, hosts: ClusterHosts): void {
  writeNote(db, "cluster_hosts", hosts);
}

/** Prefixes. */
export function readAnnounced(db: Connection): readonly string[] {
  const text = db.find<{ announced: string | null }>("SELECT announced FROM agent")?.announced ?? null;
  return parse<string[]>(db, text, "the pods that are announced") ?? [];
}

/** The generation stays: it changes nothing that is programmed. */
export function writeAnnounced(db: Connection, prefixes: readonly string[]): void {
  const text = JSON.stringify(prefixes);
  db.join(() => db.change("UPDATE agent SET announced = ? WHERE announced IS NOT ?", text, text));
}

export function readRejectedRecords(db: Connection): RejectedRecord[] {
  return db.all<RejectedRecord>("SELECT file, reason FROM rejected_records ORDER BY file");
}

export function writeRejectedRecords(db: Connection, rejected: readonly RejectedRecord[]): void {
  const text = (list: readonly RejectedRecord[]) =>
    list.map(({ file, reason }) => `${file}\n${reason}`).sort();
  if (text(readRejectedRecords(db)).join() === text(rejected).join()) return;
  db.transaction(() => {
    db.change("DELETE FROM rejected_records");
    for (const { file, reason } of rejected)
      db.change("INSERT INTO rejected_records (file, reason) VALUES (?, ?)", file, reason);
  });
}

function writeNote(
  db: Connection,
  column: "rotation" | "host_revert" | "lapses" | "cluster_hosts",
  note: object | undefined,
): void {
  const text = note === undefined ? null : JSON.stringify(note);
  db.transaction(() => {
    if (db.change(`UPDATE agent SET ${column} = ? WHERE ${column} IS NOT ?`, text, text) > 0)
      bumpGeneration(db);
  });
}

function readRow(db: Connection): AgentRow {
  const row = db.find<AgentRow>("SELECT gated, rotation, host_revert FROM agent");
  return row ?? { gated: 0, rotation: null, host_revert: null };
}

function parse<T>(db: Connection, text: string | null, what: string): T | undefined {
  return text === null ? undefined : (db.parseJson(text, what) as T);
}
