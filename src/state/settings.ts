// The settings: what an operator has set, as JSON values, in the row of `meta`.
// Which keys there are, what they mean and what holds where one is absent is
// plan/settings.ts.
import type { Connection } from "./connection.ts";
import { bumpGeneration, readSettingsText, writeSettingsText } from "./meta.ts";
import type { JsonValue } from "./model.ts";

export function readSettings(db: Connection): Record<string, unknown> {
  return db.parseJson(readSettingsText(db), "what is set") as Record<string, unknown>;
}

/** Sets one value; undefined goes back to the default. */
export function writeSetting(db: Connection, key: string, value: JsonValue | undefined): void {
  db.transaction(() => {
    const settings = { ...readSettings(db), [key]: value };
    if (writeSettingsText(db, JSON.stringify(settings))) bumpGeneration(db);
  });
}
