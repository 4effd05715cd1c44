// The tables `leases` and `last_leases` have the addresses of the embedded IPAM. ipam/allocate.ts chooses
// the next address. One transaction calls it, and writes the lease and the attachment, so no failure can
// lose an address.
import { checkSum, rowSum } from "./checksum.ts";
import type { Connection } from "./connection.ts";
import type { Lease, Owner } from "./model.ts";

interface LeaseRow {
  network: string;
  ip: string;
  range_set: number;
  container_id: string;
  ifname: string;
  sum: string;
}

const byOwner = "network = ? AND container_id = ? AND ifname = ?";

export function isLeased(db: Connection, network: string, ip: string): boolean {
  return db.find("SELECT 1 FROM leases WHERE network = ? AND ip = ?", network, ip) !== undefined;
}

/** Returns the address leased last from a range set, also if it has been released since. */
export function findLastLease(db: Connection, network: string, rangeSet: number): string | undefined {
  const sql = "SELECT ip FROM last_leases WHERE network = ? AND range_set = ?";
  return db.find<{ ip: string }>(sql, network, rangeSet)?.ip;
}

/** Takes an address. Throws StoreError if it is taken: ask `isLeased` in the same transaction. */
export function insertLease(db: Connection, { owner, ip, rangeSet }: Lease): void {
  db.join(() => {
    const { network, containerID, ifname } = owner;
    const values = [network, ip, rangeSet, containerID, ifname] as const;
    db.change("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)", ...values, rowSum(...values));
    db.change("INSERT OR REPLACE INTO last_leases VALUES (?, ?, ?)", owner.network, rangeSet, ip);
  });
}

/** Gives back all that an owner has; returns the addresses. */
export function deleteLeases(db: Connection, owner: Owner): string[] {
  const sql = `DELETE FROM leases WHERE ${byOwner} RETURNING ip`;
  const rows = db.join(() => db.all<{ ip: string }>(sql, owner.network, owner.containerID, owner.ifname));
  return rows.map((row) => row.ip);
}

/** All leases, or those of one network. */
export function readLeases(db: Connection, network?: string): Lease[] {
  const rows =
    network === undefined
      ? db.all<LeaseRow>("SELECT * FROM leases")
      : db.all<LeaseRow>("SELECT * FROM leases WHERE network = ?", network);
  return rows.map((row) => fromRow(db, row));
}

export function readLeasesOf(db: Connection, owner: Owner): Lease[] {
  const sql = `SELECT * FROM leases WHERE ${byOwner} ORDER BY range_set`;
  return db.all<LeaseRow>(sql, owner.network, owner.containerID, owner.ifname).map((row) => fromRow(db, row));
}

function fromRow(db: Connection, row: LeaseRow): Lease {
  const sum = rowSum(row.network, row.ip, row.range_set, row.container_id, row.ifname);
  checkSum(db, `the lease of ${row.ip}`, row.sum, sum);
  return {
    owner: { network: row.network, containerID: row.container_id, ifname: row.ifname },
    ip: row.ip,
    rangeSet: row.range_set,
  };
}
