// The table `settings`: what an operator has set, as JSON values. Which keys
// there are, what they mean and what holds where one is absent is plan/settings.ts.
import type { Connection } from "./connection.ts";
import { bumpGeneration } from "./meta.ts";
import type { JsonValue } from "./model.ts";

export function readSettings(db: Connection): Record<string, unknown> {
  const rows = db.all<{ key: string; value: string }>("SELECT key, value FROM settings");
  return Object.fromEntries(rows.map(({ key, value }) => [key, db.parseJson(value, `the setting "${key}"`)]));
}

/** Sets one value; undefined goes back to the default. */
export function writeSetting(db: Connection, key: string, value: JsonValue | undefined): void {
  db.transaction(() => {
    const changed =
      value === undefined
        ? db.change("DELETE FROM settings WHERE key = ?", key)
        : db.change(
            `INSERT INTO settings (key, value) VALUES (?, ?)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value`,
            key,
            JSON.stringify(value),
          );
    if (changed > 0) bumpGeneration(db);
  });
}
