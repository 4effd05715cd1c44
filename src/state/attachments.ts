// The table `attachments` has one row for each container interface that an ADD of ours configured. A row
// is written before the kernel changes, and deleted after its objects are gone.
import { checkSum, rowSum } from "./checksum.ts";
import type { Connection } from "./connection.ts";
import type { Attachment, JsonValue, Owner } from "./model.ts";

interface AttachmentRow {
  network: string;
  container_id: string;
  ifname: string;
  netns: string;
  role: Attachment["role"];
  host_dev: string | null;
  ips: string;
  restore: string;
  ipam: string | null;
  created_at_ms: number;
  sum: string;
}

const byOwner = "network = ? AND container_id = ? AND ifname = ?";

export function findAttachment(db: Connection, owner: Owner): Attachment | undefined {
  const row = db.find<AttachmentRow>(
    `SELECT * FROM attachments WHERE ${byOwner}`,
    owner.network,
    owner.containerID,
    owner.ifname,
  );
  return row && fromRow(db, row);
}

/** True if an attachment of another owner has the address: canonical ones stand in the list as `ip` does. */
export function isHeldByAnother(db: Connection, owner: Owner, ip: string): boolean {
  const sql = `SELECT 1 FROM attachments WHERE instr(ips, ?) AND NOT (${byOwner}) LIMIT 1`;
  return db.find(sql, JSON.stringify(ip), owner.network, owner.containerID, owner.ifname) !== undefined;
}

/** All attachments, or those of one network, by owner. */
export function readAttachments(db: Connection, network?: string): Attachment[] {
  const rows =
    network === undefined
      ? db.all<AttachmentRow>("SELECT * FROM attachments")
      : db.all<AttachmentRow>("SELECT * FROM attachments WHERE network = ?", network);
  return rows.map((row) => fromRow(db, row));
}

/** Returns the addresses of all attachments. */
export function readPodIPs(db: Connection): string[] {
  return readAttachments(db).flatMap(({ ips }) => ips);
}

/** True if a pod is there that we are the main plugin of. */
export function hasStandalone(db: Connection): boolean {
  return db.find("SELECT 1 FROM attachments WHERE role = 'standalone' LIMIT 1") !== undefined;
}

/** Adds an attachment, or replaces the one of the same owner. */
export function writeAttachment(db: Connection, a: Attachment): void {
  const values = [
    ...[a.network, a.containerID, a.ifname, a.netns, a.role, a.hostDev ?? null],
    ...[JSON.stringify(a.ips), JSON.stringify(a.restore), a.ipam ?? null, a.createdAtMs],
  ];
  const sql = "INSERT OR REPLACE INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  db.join(() => db.change(sql, ...values, rowSum(...values)));
}

/** False if there is none. */
export function deleteAttachment(db: Connection, owner: Owner): boolean {
  return changeByOwner(db, `DELETE FROM attachments WHERE ${byOwner}`, owner);
}

function changeByOwner(db: Connection, sql: string, owner: Owner): boolean {
  return db.join(() => db.change(sql, owner.network, owner.containerID, owner.ifname)) > 0;
}

function fromRow(db: Connection, row: AttachmentRow): Attachment {
  const what = `the record of ${row.ifname} of container ${row.container_id}`;
  const sum = rowSum(
    ...[row.network, row.container_id, row.ifname, row.netns, row.role, row.host_dev],
    ...[row.ips, row.restore, row.ipam, row.created_at_ms],
  );
  checkSum(db, what, row.sum, sum);
  return {
    network: row.network,
    containerID: row.container_id,
    ifname: row.ifname,
    netns: row.netns,
    role: row.role,
    ...(row.host_dev !== null && { hostDev: row.host_dev }),
    ips: db.parseJson(row.ips, what) as string[],
    restore: db.parseJson(row.restore, what) as JsonValue,
    ...(row.ipam !== null && { ipam: row.ipam }),
    createdAtMs: row.created_at_ms,
  };
}
