// Run inside a lab node, where the path of its store is valid: prints the rows
// about pods as JSON. SQLite itself is the witness, not the product's store.

import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";

const path = process.argv[2] as string;
if (existsSync(path)) {
  using db = new Database(path);
  const all = (sql: string) => db.query(sql).all();
  const tables = {
    integrity: all("PRAGMA integrity_check"),
    attachments: all("SELECT * FROM attachments ORDER BY container_id, ifname"),
    leases: all("SELECT * FROM leases ORDER BY ip"),
  };
  process.stdout.write(JSON.stringify(tables));
}
