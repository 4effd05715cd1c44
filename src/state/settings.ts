// The settings: what an operator has set, as JSON values, in the row of `meta`; and
// above these, the settings of the cluster's mesh for all nodes. plan/settings/settings.ts has the keys,
// their meaning and their defaults.
import type { Connection } from "./connection.ts";
import { bumpGeneration, readSettingsText, writeSettingsText } from "./meta.ts";
import type { JsonValue } from "./model.ts";

/** The key of the mesh's settings, beside the node's own; no setting has such a name. */
const meshKey = "(mesh)";

interface Stored {
  readonly [meshKey]?: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

/** Returns the settings that hold: the mesh's have priority over the node's own. */
export function readSettings(db: Connection): Record<string, unknown> {
  const { [meshKey]: mesh, ...own } = readStored(db);
  return { ...own, ...mesh };
}

/** Sets one of the node's own; undefined goes back to the default. */
export function writeSetting(db: Connection, key: string, value: JsonValue | undefined): void {
  write(db, (stored) => ({ ...stored, [key]: value }));
}

/** Returns the mesh's settings, as they were read last. */
export function readMeshSettings(db: Connection): Record<string, unknown> {
  return { ...readStored(db)[meshKey] };
}

/** Exchanges it. */
export function writeMeshSettings(db: Connection, mesh: Readonly<Record<string, JsonValue>>): void {
  write(db, ({ [meshKey]: _, ...own }) =>
    Object.keys(mesh).length === 0 ? own : { ...own, [meshKey]: mesh },
  );
}

function write(db: Connection, change: (stored: Stored) => Stored): void {
  db.transaction(() => {
    if (writeSettingsText(db, JSON.stringify(change(readStored(db))))) bumpGeneration(db);
  });
}

function readStored(db: Connection): Stored {
  return db.parseJson(readSettingsText(db), "what is set") as Stored;
}
