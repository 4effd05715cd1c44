// Which address a pod gets: the one after the last given from its range set,
// wrapping, as host-local does, so that an address rests before it is used
// again. Pure: what is taken is asked, and taking it is the caller's.
import { ParseError } from "../net/error.ts";
import { familyOf, isIp, parseIp } from "../net/ip.ts";
import { ipFromNumber, ipToNumber } from "./number.ts";
import { formatRange, type Range, type RangeSet } from "./range.ts";

export interface AllocateOptions {
  readonly isTaken: (ip: string) => boolean;
  /** The address given last from this set, whether it is still in use or not. */
  readonly last?: string | undefined;
  /** The only address that will do. */
  readonly requested?: string | undefined;
}

/** An address with the range it is of, or why there is none. */
export type Allocation =
  | { readonly ok: true; readonly ip: string; readonly range: Range }
  | { readonly ok: false; readonly reason: "exhausted" | "taken" | "outside"; readonly message: string };

/** Finds a free address; asks `isTaken` at most once more than addresses are taken. */
export function allocate(set: RangeSet, { isTaken, last, requested }: AllocateOptions): Allocation {
  return requested === undefined ? nextFree(set, isTaken, last) : fixed(set, isTaken, requested);
}

/** Index of the set that holds `ip`, or undefined: which set a requested address is for. */
export function findRangeSet(sets: readonly RangeSet[], ip: string): number | undefined {
  const index = sets.findIndex((set) => findRange(set, ip) !== undefined);
  return index < 0 ? undefined : index;
}

/** How many addresses a set can give. */
export function countAddresses(set: RangeSet): bigint {
  let count = 0n;
  for (const range of set) {
    count += ipToNumber(range.last) - ipToNumber(range.first) + 1n;
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

function nextFree(set: RangeSet, isTaken: (ip: string) => boolean, last: string | undefined): Allocation {
  for (const { range, number } of inOrder(set, last)) {
    const ip = ipFromNumber(number, range.family);
    if (ip !== range.gateway && !isTaken(ip)) return { ok: true, ip, range };
  }
  const count = countAddresses(set);
  return refusal("exhausted", `no address is free in ${formatSet(set)}: all ${count} are taken`);
}

/** Every address once: from after `last` to the end, then the other ranges, then up to `last`. */
function* inOrder(set: RangeSet, last: string | undefined): Generator<{ range: Range; number: bigint }> {
  const at = last === undefined ? undefined : findRange(set, last);
  if (at === undefined || last === undefined) {
    for (const range of set) yield* numbers(range, ipToNumber(range.first), ipToNumber(range.last));
    return;
  }
  const index = set.indexOf(at);
  const split = ipToNumber(last);
  yield* numbers(at, split + 1n, ipToNumber(at.last));
  for (const range of [...set.slice(index + 1), ...set.slice(0, index)])
    yield* numbers(range, ipToNumber(range.first), ipToNumber(range.last));
  yield* numbers(at, ipToNumber(at.first), split);
}

function* numbers(range: Range, from: bigint, to: bigint): Generator<{ range: Range; number: bigint }> {
  for (let number = from; number <= to; number++) yield { range, number };
}

function findRange(set: RangeSet, ip: string): Range | undefined {
  return set.find((range) => contains(range, ip));
}

function contains(range: Range, ip: string): boolean {
  if (familyOf(ip) !== range.family) return false;
  const number = ipToNumber(ip);
  return ipToNumber(range.first) <= number && number <= ipToNumber(range.last);
}

function formatSet(set: RangeSet): string {
  return set.map(formatRange).join(", ");
}

function refusal(reason: "exhausted" | "taken" | "outside", message: string): Allocation {
  return { ok: false, reason, message };
}
