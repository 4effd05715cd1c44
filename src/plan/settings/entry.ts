// Parses the entry for wg-cni in a network configuration: its type, and further keys if an operator wants
// some. It is checked before it is written, because every pod of the node would fail over a wrong one. Pure.
import { messageOf, ParseError } from "../../net/error.ts";

/** With "ipam" wg-cni makes the interfaces; without it wg-cni follows another plugin. */
export interface Entry {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** The entry without any keys of its own. */
export const plainEntry: Entry = { type: "wg-cni" };

/** Keys that the list or the runtime sets; no plugin sets them for itself. */
const foreignKeys = ["name", "cniVersion", "plugins", "prevResult", "runtimeConfig"];

/** Parses a JSON object of the entry's own keys, as text or decoded. Throws ParseError with "must be …". */
export function parseEntry(raw: unknown): Entry {
  const json = typeof raw === "string" ? decode(raw) : raw;
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new ParseError('must be a JSON object, for example {"mtu": 1400}');
  const { type = plainEntry.type, ...keys } = json as Record<string, unknown>;
  if (type !== plainEntry.type) throw new ParseError(`must be of type ${plainEntry.type}, or without a type`);
  const foreign = foreignKeys.find((key) => key in keys);
  if (foreign !== undefined)
    throw new ParseError(`must be without "${foreign}", which is the network's and not the plugin's`);
  refuseWrongValues(keys);
  return { ...plainEntry, ...keys };
}

/** Formats the entry as text; equal entries have equal text. */
export function formatEntry(entry: Entry): string {
  return JSON.stringify(entry);
}

/** True if wg-cni is to make the interfaces. */
export function makesInterfaces({ ipam }: Entry): boolean {
  return ipam !== undefined && ipam !== null;
}

function refuseWrongValues({ mtu, stateDir, ipam }: Record<string, unknown>): void {
  const isMtu = Number.isInteger(mtu) && (mtu === 0 || ((mtu as number) >= 576 && (mtu as number) <= 65_535));
  if (mtu !== undefined && !isMtu) throw new ParseError('must have an "mtu" from 576 to 65535, or none');
  if (stateDir !== undefined && (typeof stateDir !== "string" || !stateDir.startsWith("/")))
    throw new ParseError('must have an absolute path as "stateDir", or none');
  if (ipam !== undefined && (typeof ipam !== "object" || ipam === null || Array.isArray(ipam)))
    throw new ParseError('must have an object as "ipam", or none');
}

function decode(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ParseError(`must be JSON (${messageOf(error)})`);
  }
}
