// Rebuilds a damaged store: a new file gets every row that can be read and is what was written, and the damaged
// file is kept beside it. Nothing is guessed. Each loss is named, so that a person can import or set it again.
import { exists, rename, syncDirectory, unlink } from "../linux/file.ts";
import { rowSum } from "./checksum.ts";
import { Connection } from "./connection.ts";
import { StoreError } from "./error.ts";
import { findVersion, repairIdentity, setDamagedCopyAside, type Version, writeRow } from "./identity.ts";
import { locked, makeFile, openState } from "./open.ts";
import { migrations } from "./schema.ts";
import { summedTables } from "./sums.ts";

export interface Salvage {
  /** True if the identity's row or its copy was written anew. */
  readonly identityRestored: boolean;
  /** Present if there was no database: settings, peers and the records of pods are lost. */
  readonly databaseAbsent?: true;
  /** Present if the file was rebuilt. */
  readonly rebuilt?: {
    /** Path of the damaged file. */
    readonly aside: string;
    /** For each table with rows, how many were kept. */
    readonly kept: Readonly<Record<string, number>>;
    /** A sentence for each row or table that was lost. */
    readonly lost: readonly string[];
  };
}

type Value = string | number | null;
type Row = Readonly<Record<string, Value>>;

/** Tables with the columns by which rows are named; they are copied as they are. */
const tables: Readonly<Record<string, readonly string[]>> = {
  peers: ["name"],
  attachments: ["network", "container_id", "ifname"],
  leases: ["network", "ip"],
  last_leases: ["network", "range_set"],
  paths: ["peer"],
  node_ip_proofs: ["peer", "ip"],
  sysctls: ["path"],
  plaintext: ["peer"],
};

/** The columns of the agent's row that hold JSON, with what is lost with each. */
const notes = {
  rotation: "the key rotation that was going on: it begins anew when it is due",
  host_revert: "why host encryption was taken back: it is on again, if it is set",
  lapses: "the claims that have lapsed: who was first counts again",
  cluster_hosts: "the cluster's own hosts: they are read again",
  announced: "the pods that are announced: they are read again",
} as const;

interface Found {
  readonly identity?: Version | undefined;
  readonly rows: ReadonlyMap<string, readonly Row[]>;
  readonly lost: readonly string[];
}

/**
 * Call it while no agent runs, which would go on with the damaged file. A call of the plugin at the same moment may
 * lose its record; the kernel still shows its addresses. Throws StoreError.
 */
export function repairState(stateDir: string): Salvage {
  const path = `${stateDir}/state.db`;
  const absent = exists(path) ? {} : { databaseAbsent: true as const };
  bringUpToDate(stateDir);
  return locked(stateDir, () => {
    const found = findRows(path);
    if (found.lost.length > 0) return { identityRestored: false, rebuilt: rebuild(path, found), ...absent };
    using connection = new Connection(path);
    return { identityRestored: repairIdentity(connection), ...absent };
  });
}

/** Rows are read as the present version has them. A file of a newer version is not damaged. */
function bringUpToDate(stateDir: string): void {
  try {
    openState(stateDir)[Symbol.dispose]();
  } catch (error) {
    if (!(error instanceof StoreError && error.kind === "corrupt")) throw error;
  }
}

function findRows(path: string): Found {
  const rows = new Map<string, readonly Row[]>();
  const lost: string[] = [];
  const connection = attempt(() => {
    const opened = new Connection(path);
    opened.find("SELECT 1 FROM meta");
    return opened;
  });
  const identity = attempt(() => ({ found: findVersion(path, connection) }));
  if (identity === undefined) lost.push("the node's identity: run `wg-cni up`");
  const found = { rows, lost, identity: identity?.found };
  if (connection === undefined) return { ...found, lost: [...lost, "the whole database: it cannot be read"] };
  using source = connection;
  rows.set("meta", readTable(source, "meta", ["id"], lost));
  const agent = readTable(source, "agent", ["id"], lost).map((row) => withoutDamagedNotes(row, lost));
  rows.set("agent", agent);
  if (agent.length === 0) lost.push(...Object.values(notes));
  for (const [table, key] of Object.entries(tables)) rows.set(table, readTable(source, table, key, lost));
  const check = attempt(() => source.all<{ integrity_check: string }>("PRAGMA integrity_check(1)"));
  const [{ integrity_check: verdict } = { integrity_check: "it cannot be checked" }] = check ?? [];
  if (verdict !== "ok" && lost.length === 0) lost.push(`nothing that is known; SQLite says: ${verdict}`);
  return found;
}

/** From both ends, since a damaged page ends each reading. */
function readTable(source: Connection, table: string, key: readonly string[], lost: string[]): Row[] {
  const found = new Map<string, Row>();
  const visit = (row: Row) => void found.set(key.map((column) => row[column]).join(" "), row);
  const isWhole = [" ASC", " DESC"].map((order) => {
    const by = key.map((column) => column + order).join(", ");
    const read = () => {
      source.each<Row>(`SELECT * FROM ${table} ORDER BY ${by}`, visit);
      return true;
    };
    return attempt(read) ?? false;
  });
  if (isWhole.includes(false)) lost.push(`rows of ${table} that cannot be read`);
  if (table === "meta" && found.size === 0) lost.push("the settings");
  return [...found].flatMap(([name, row]) => {
    if (isSound(table, row)) return [row];
    lost.push(
      table === "meta" ? "the settings" : `the row of ${table} that is named ${JSON.stringify(name)}`,
    );
    return [];
  });
}

function isSound(table: string, row: Row): boolean {
  if (table === "paths") return attempt(() => JSON.parse(String(row["path"]))) !== undefined;
  const summed = (summedTables as Readonly<Record<string, { readonly columns: readonly string[] }>>)[table];
  const sum = row[table === "meta" ? "settings_sum" : "sum"];
  return summed === undefined || sum === rowSum(...summed.columns.map((column) => row[column] ?? null));
}

function withoutDamagedNotes(row: Row, lost: string[]): Row {
  const sound = { ...row };
  for (const [column, what] of Object.entries(notes)) {
    const text = row[column] ?? null;
    if (text === null || attempt(() => JSON.parse(String(text))) !== undefined) continue;
    sound[column] = null;
    lost.push(what);
  }
  return sound;
}

function rebuild(path: string, { rows, identity, lost }: Found): NonNullable<Salvage["rebuilt"]> {
  const aside = `${path}.damaged`;
  const directory = path.slice(0, path.lastIndexOf("/"));
  const kept: Record<string, number> = {};
  const draft = `${path}.rebuilt`;
  for (const suffix of ["", "-wal", "-shm"]) unlink(draft + suffix);
  makeFile(draft, migrations, (target) => {
    target.transaction(() => {
      for (const table of Object.keys(tables)) {
        const there = rows.get(table) ?? [];
        if (there.length > 0) kept[table] = there.length;
        for (const row of there) insert(target, table, row);
      }
      restoreSingles(target, rows);
      addLeases(target, rows.get("attachments") ?? []);
      if (identity !== undefined) writeRow(target, identity);
    });
  });
  // The log belongs to the damaged file, and would be taken for the new one's.
  for (const suffix of ["-wal", "-shm", ""]) {
    unlink(aside + suffix);
    if (exists(path + suffix)) rename(path + suffix, aside + suffix);
  }
  if (identity === undefined) setDamagedCopyAside(path);
  rename(draft, path);
  syncDirectory(directory);
  return { aside, kept, lost };
}

function insert(target: Connection, table: string, row: Row): void {
  const columns = Object.keys(row);
  const marks = columns.map(() => "?").join(", ");
  target.change(
    `INSERT OR IGNORE INTO ${table} (${columns.join(", ")}) VALUES (${marks})`,
    ...Object.values(row),
  );
}

/** The rows that every store has. The state that was programmed is left out, so that the next sync observes all. */
function restoreSingles(target: Connection, rows: Found["rows"]): void {
  const [meta] = rows.get("meta") ?? [];
  const [agent] = rows.get("agent") ?? [];
  const changedAt = Math.max(0, ...(rows.get("peers") ?? []).map((row) => Number(row["changed_at"])));
  const generation = Math.max(Number(meta?.["generation"] ?? 0), changedAt) + 1;
  const seq = "(SELECT max(seq.value) FROM peers, json_tree(claims) AS seq WHERE seq.key = 'seq')";
  target.change(`UPDATE meta SET generation = ?, claim_seq = coalesce(${seq}, 0)`, generation);
  if (meta !== undefined)
    target.change(
      "UPDATE meta SET boot = ?, claim_seq = max(claim_seq, ?), settings = ?, settings_sum = ?",
      ...["boot", "claim_seq", "settings", "settings_sum"].map((column) => meta[column] ?? null),
    );
  // A node that had an agent still has one, whose gates open again by handshakes.
  target.change("UPDATE agent SET gated = ?", agent?.["gated"] ?? 1);
  for (const column of Object.keys(notes))
    target.change(`UPDATE agent SET ${column} = ?`, agent?.[column] ?? null);
}

/** A pod's addresses are in its record, too. Another plugin's IPAM keeps its own leases. */
function addLeases(target: Connection, attachments: readonly Row[]): void {
  for (const { network, container_id, ifname, role, ips, ipam } of attachments) {
    if (role !== "standalone" || ipam !== null) continue;
    for (const [rangeSet, ip] of (JSON.parse(String(ips)) as string[]).entries()) {
      const values = [network, ip, rangeSet, container_id, ifname] as Value[];
      target.change("INSERT OR IGNORE INTO leases VALUES (?, ?, ?, ?, ?, ?)", ...values, rowSum(...values));
    }
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof StoreError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
