// The migration that gives the rows that matter their checksums. SQL has no such function. As with the other
// migrations, it is never edited: it names the columns that the tables had then.
import { rowSum } from "./checksum.ts";
import type { Connection } from "./connection.ts";

/** The columns that the checksum of each row is of. */
export const summedTables = {
  identity: { key: ["id"], columns: ["seq", "data"] },
  peers: {
    key: ["name"],
    columns: ["name", "record", "claims", "source", "changed_at", "unproven", "previous"],
  },
  attachments: {
    key: ["network", "container_id", "ifname"],
    columns: [
      ...["network", "container_id", "ifname", "netns", "role", "host_dev", "ips", "restore", "ipam"],
      "created_at_ms",
    ],
  },
  leases: {
    key: ["network", "ip"],
    columns: ["network", "ip", "range_set", "container_id", "ifname"],
  },
  meta: { key: ["id"], columns: ["settings"] },
} as const;

type Row = Readonly<Record<string, string | number | null>>;

export function addSums(db: Connection): void {
  // The identity has a number, by which a copy beside the database is older or newer than it.
  db.execute("ALTER TABLE identity ADD COLUMN seq INTEGER NOT NULL DEFAULT 1");
  for (const [table, { key, columns }] of Object.entries(summedTables)) {
    const sum = table === "meta" ? "settings_sum" : "sum";
    db.execute(`ALTER TABLE ${table} ADD COLUMN ${sum} TEXT NOT NULL DEFAULT ''`);
    // Without one it is newer than any copy, which a store that was brought back may find. repairIdentity() gives it one.
    if (table === "identity") continue;
    const isRow = key.map((column) => `${column} = ?`).join(" AND ");
    for (const row of db.all<Row>(`SELECT * FROM ${table}`))
      db.change(
        `UPDATE ${table} SET ${sum} = ? WHERE ${isRow}`,
        rowSum(...columns.map((column) => row[column] ?? null)),
        ...key.map((column) => row[column] ?? null),
      );
  }
}
