// The one row of `meta`: which boot the attachments are of, the generation of
// the intent, the order of claims, what an operator has set, and what the
// kernel was last programmed to.
import { checkSum, rowSum } from "./checksum.ts";
import type { Connection } from "./connection.ts";
import { corruptError } from "./error.ts";
import type { AppliedState } from "./model.ts";

/** Tables whose rows describe what is gone after a boot. */
const bootTables = ["attachments", "leases", "last_leases", "sysctls"];

/** Drops what an earlier boot left, once; costs one read at any other time. */
export function enterBoot(db: Connection, boot: string): void {
  if (readBoot(db) === boot) return;
  db.transaction(() => {
    // Another process may have been here first.
    if (readBoot(db) === boot) return;
    for (const table of bootTables) db.change(`DELETE FROM ${table}`);
    db.change("UPDATE meta SET boot = ?, applied = NULL", boot);
  });
}

export function readGeneration(db: Connection): number {
  return readMeta(db).generation;
}

/** Records durably that settings, identity or peers have changed, because the operator's command has reported success. */
export function bumpGeneration(db: Connection): void {
  db.change("UPDATE meta SET generation = generation + 1");
  db.flushAtCommit();
}

/** Takes `count` numbers for new claims; returns the first of them. */
export function takeClaimSeqs(db: Connection, count: number): number {
  const row = db.find<{ claim_seq: number }>("SELECT claim_seq FROM meta");
  db.change("UPDATE meta SET claim_seq = claim_seq + ?", count);
  return (row?.claim_seq ?? 0) + 1;
}

export function readApplied(db: Connection): AppliedState | undefined {
  const text = readMeta(db).applied;
  return text === null ? undefined : (db.parseJson(text, "the applied state") as AppliedState);
}

export function writeApplied(db: Connection, applied: AppliedState | undefined): void {
  const text = applied === undefined ? null : JSON.stringify(applied);
  db.join(() => db.change("UPDATE meta SET applied = ? WHERE applied IS NOT ?", text, text));
}

/** Returns the operator's settings, as a JSON object's text. */
export function readSettingsText(db: Connection): string {
  const { settings, settings_sum } = readMeta(db);
  checkSum(db, "what is set", settings_sum, rowSum(settings));
  return settings;
}

/** True if it was another text. */
export function writeSettingsText(db: Connection, text: string): boolean {
  const sql = "UPDATE meta SET settings = ?, settings_sum = ? WHERE settings IS NOT ?";
  return db.change(sql, text, rowSum(text), text) > 0;
}

interface MetaRow {
  boot: string;
  generation: number;
  settings: string;
  settings_sum: string;
  applied: string | null;
}

function readBoot(db: Connection): string {
  return readMeta(db).boot;
}

/** One statement for all readers: it is prepared once. The row is there from the first moment of the file. */
function readMeta(db: Connection): MetaRow {
  const row = db.find<MetaRow>("SELECT boot, generation, settings, settings_sum, applied FROM meta");
  if (row === undefined) throw corruptError(db.path, "a row that every store has is missing");
  return row;
}
