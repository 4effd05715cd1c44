// `peer import` reads records from a file or stdin, checks them as a whole before the store changes,
// and then programs the kernel.

import { findText } from "../linux/file.ts";
import { ParseError } from "../net/error.ts";
import { countOf } from "../net/human-format.ts";
import type { NodeRecord } from "../net/record.ts";
import { parseRecords } from "../plan/records/record.ts";
import { isProven } from "../sources/proof-check.ts";
import { type Context, type Output, UsageError } from "./command.ts";
import { openSession, reportSync, syncAll } from "./session.ts";

/** 5,000 records of 110 pod IPs each are 15 MB. */
const maxInputBytes = 64 * 1024 * 1024;

export function peerImport(context: Context): Output {
  const [file] = context.given.positional;
  if (file === undefined) throw new UsageError("peer import needs a file, or - for standard input");
  const origin = file === "-" ? "standard input" : file;
  const records = parseRecords(parseJson(readSource(context, file), origin));
  using session = openSession(context);
  const identity = session.store.identity();
  const own = identity === undefined ? [] : records.filter((record) => record.name === identity.name);
  const peers = records.filter((record) => record.name !== identity?.name);
  requireProofs(peers);
  session.store.putPeers(peers, "import", () => true);
  const skipped = own.length === 0 ? "" : ", this node's own record left out";
  const headline = `Imported ${countOf(peers.length, "peer")} from ${origin}${skipped}`;
  if (!(identity?.up ?? false))
    return {
      json: { imported: peers.map(({ name }) => name) },
      text: () => `${headline}; the node is not up, so nothing is programmed yet\n`,
    };
  return reportSync(syncAll(session), headline);
}

/** Throws ParseError if the proof of a key is another node's or slot's, or damaged. */
function requireProofs(records: readonly NodeRecord[]): void {
  for (const { name, slots } of records)
    for (const slot of slots)
      if (slot.proof !== undefined && !isProven(name, slot))
        throw new ParseError(
          `the proof of key ${slot.publicKey} is not of ${name}'s slot ${slot.slot}: nothing was imported; take the record as \`wg-cni node show --json\` prints it on ${name}`,
        );
}

function readSource(context: Context, file: string): string {
  if (file === "-") return context.readStdin(maxInputBytes);
  const path = file.startsWith("/") ? file : `${process.cwd()}/${file}`;
  const text = findText(path);
  if (text === undefined) throw new UsageError(`there is no file ${file}`);
  return text;
}

function parseJson(text: string, origin: string): unknown {
  if (text.trim() === "")
    throw new UsageError(`${origin} is empty; it should have the output of \`wg-cni node show --json\``);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${origin} is not JSON: ${(error as Error).message}`);
  }
}
