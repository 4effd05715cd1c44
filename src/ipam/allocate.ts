// Chooses the address of a pod: the next one after the last address that its range set gave, wrapping
// around as host-local does, so that an address rests before it is used again. Pure: the caller says
// which addresses are taken, and records the chosen one.
import { ParseError } from "../net/error.ts";
import { formatIp, ipBytes, isIp, parseIp } from "../net/ip.ts";
import { compareBytes, countBetween, increment } from "./order.ts";
import { contains, formatRange, type Range, type RangeSet } from "./range.ts";

export interface AllocateOptions {
  readonly isTaken: (ip: string) => boolean;
  /** The address given last from this set, whether it is still in use or not. */
  readonly last?: string | undefined;
  /** The only address that will do. */
  readonly requested?: string | undefined;
}

/** An address with its range, or the reason why there is none. */
export type Allocation =
  | { readonly ok: true; readonly ip: string; readonly range: Range }
  | { readonly ok: false; readonly reason: "exhausted" | "taken" | "outside"; readonly message: string };

/** Finds a free address; asks `isTaken` at most once more than addresses are taken. */
export function allocate(set: RangeSet, { isTaken, last, requested }: AllocateOptions): Allocation {
  return requested === undefined ? nextFree(set, isTaken, last) : fixed(set, isTaken, requested);
}

/** Returns the index of the set that contains a requested address, or undefined if none does. */
export function findRangeSet(sets: readonly RangeSet[], ip: string): number | undefined {
  const index = sets.findIndex((set) => findRange(set, ip) !== undefined);
  return index < 0 ? undefined : index;
}

/** Counts the addresses that a set can give. */
export function countAddresses(set: RangeSet): bigint {
  let count = 0n;
  for (const range of set) {
    count += countBetween(range.first, range.last);
    if (contains(range, range.gateway)) count--;
  }
  return count;
}

function fixed(set: RangeSet, isTaken: (ip: string) => boolean, requested: string): Allocation {
  if (!isIp(requested)) throw new ParseError(`the requested address "${requested}" is not an IP address`);
  const ip = parseIp(requested);
  const range = findRange(set, ip);
  if (range === undefined)
    return refusal("outside", `the requested address ${ip} is not in ${formatSet(set)}`);
  if (ip === range.gateway)
    return refusal("outside", `the requested address ${ip} is the gateway of ${range.subnet}`);
  if (isTaken(ip)) return refusal("taken", `the requested address ${ip} is taken`);
  return { ok: true, ip, range };
}

/** Tries every address once: from after `last` to the end of its range, the other ranges, then up to `last`. */
function nextFree(set: RangeSet, isTaken: (ip: string) => boolean, last: string | undefined): Allocation {
  const start = last === undefined ? -1 : set.findIndex((range) => contains(range, last));
  const goesOn = start >= 0 && last !== undefined;
  const turns = goesOn ? set.length + 1 : set.length;
  for (let turn = 0; turn < turns; turn++) {
    const range = set[((start < 0 ? 0 : start) + turn) % set.length];
    if (range === undefined) break;
    const after = goesOn && turn === 0 ? last : undefined;
    const end = goesOn && turn === set.length ? last : range.last;
    const ip = findFree(range, after, end, isTaken);
    if (ip !== undefined) return { ok: true, ip, range };
  }
  const count = countAddresses(set);
  return refusal("exhausted", `no address is free in ${formatSet(set)}: all ${count} are taken`);
}

/** Finds the first free address after `after` (from the range's first, if undefined) up to `end`. */
function findFree(
  range: Range,
  after: string | undefined,
  end: string,
  isTaken: (ip: string) => boolean,
): string | undefined {
  if (after === end) return undefined;
  const bytes = ipBytes(after ?? range.first);
  const endBytes = ipBytes(end);
  if (after !== undefined) increment(bytes);
  for (;;) {
    const ip = formatIp(bytes);
    if (ip !== range.gateway && !isTaken(ip)) return ip;
    if (compareBytes(bytes, endBytes) >= 0) return undefined;
    increment(bytes);
  }
}

function findRange(set: RangeSet, ip: string): Range | undefined {
  return set.find((range) => contains(range, ip));
}

function formatSet(set: RangeSet): string {
  return set.map(formatRange).join(", ");
}

function refusal(reason: "exhausted" | "taken" | "outside", message: string): Allocation {
  return { ok: false, reason, message };
}
