// Ranges of addresses, as host-local's configuration writes them. A pod gets
// one address of each range set; a set is one or more ranges of one family.
// The next address of a set is chosen by allocate.ts.
import { ParseError, parseAt } from "../net/error.ts";
import { type Family, familyBits, familyOf, parseIp } from "../net/ip.ts";
import { parseInterfaceAddress, parsePrefix } from "../net/prefix.ts";
import { compareIps, hostAddresses } from "./order.ts";

/** All pairs of ranges are compared at every ADD. */
const maxRanges = 256;

/** Addresses `first` to `last` of a subnet, without its gateway. */
export interface Range {
  readonly family: Family;
  /** Canonical prefix. */
  readonly subnet: string;
  readonly first: string;
  readonly last: string;
  /** The gateway is never allocated. If none is configured, it is the subnet's first address. */
  readonly gateway: string;
}

/** Ranges of one family, none overlapping another. */
export type RangeSet = readonly Range[];

/** Reads `ranges`, [[{subnet, …}, …], …]; `path` is its name in messages. Empty if absent. Throws ParseError. */
export function parseRangeSets(value: unknown, path: string): RangeSet[] {
  if (value === undefined || value === null) return [];
  const sets = getList(value, path).map((set, i) => parseRangeSet(set, `${path}[${i}]`));
  const count = sets.reduce((sum, set) => sum + set.length, 0);
  if (count > maxRanges) throw new ParseError(`${path} has ${count} ranges, at most ${maxRanges} are taken`);
  refuseOverlap(sets.flatMap((set, i) => set.map((range, j) => ({ range, path: `${path}[${i}][${j}]` }))));
  return sets;
}

/** Reads one range: {subnet, rangeStart?, rangeEnd?, gateway?}. Throws ParseError. */
export function parseRange(value: unknown, path: string): Range {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ParseError(`${path} must be an object with a "subnet"`);
  const conf = value as Record<string, unknown>;
  const range = parseSubnet(getText(conf.subnet, `${path}.subnet`), `${path}.subnet`);
  const first = findAddress(range, conf.rangeStart, `${path}.rangeStart`) ?? range.first;
  const last = findAddress(range, conf.rangeEnd, `${path}.rangeEnd`) ?? range.last;
  const gateway = findAddress(range, conf.gateway, `${path}.gateway`) ?? range.gateway;
  if (compareIps(first, last) > 0)
    throw new ParseError(`${path}.rangeStart: ${first} is after the range's end, ${last}`);
  return { ...range, first, last, gateway };
}

/** Range sets of a node's pod CIDRs: one a family, in the order of the families. Throws ParseError. */
export function rangeSetsOfPodCIDRs(podCIDRs: readonly string[]): RangeSet[] {
  const named: NamedRange[] = [];
  const sets: Range[][] = [];
  for (const cidr of podCIDRs) {
    const range = parseSubnet(cidr, "podCIDRs");
    named.push({ range, path: "podCIDRs" });
    const set = sets[0]?.[0]?.family === range.family ? sets[0] : sets[1];
    if (set === undefined) sets.push([range]);
    else set.push(range);
  }
  refuseOverlap(named);
  return sets;
}

/** True if `ip` is one of a range's addresses. */
export function contains(range: Range, ip: string): boolean {
  return familyOf(ip) === range.family && compareIps(range.first, ip) <= 0 && compareIps(ip, range.last) <= 0;
}

/** "10.1.0.0/24 (10.1.0.1 to 10.1.0.254)" */
export function formatRange(range: Range): string {
  return `${range.subnet} (${range.first} to ${range.last})`;
}

function parseRangeSet(value: unknown, path: string): RangeSet {
  const list = getList(value, path);
  if (list.length === 0) throw new ParseError(`${path} is empty: it needs at least one {"subnet": …}`);
  const set = list.map((range, i) => parseRange(range, `${path}[${i}]`));
  const family = set[0]?.family;
  if (set.some((range) => range.family !== family))
    throw new ParseError(
      `${path} mixes IPv4 and IPv6: a pod gets one address of each set, so make it two sets`,
    );
  return set;
}

/** All usable addresses of a subnet: not the network's own, nor IPv4's broadcast. */
function parseSubnet(text: string, path: string): Range {
  const { ip, length } = parseAt(path, () => parseInterfaceAddress(text));
  const subnet = parsePrefix(text);
  const family = familyOf(ip);
  if (subnet !== `${ip}/${length}`)
    throw new ParseError(`${path}: "${text}" has bits set after its length; the subnet is ${subnet}`);
  // host-local has the same limit: a network address, a gateway and something to allocate need four.
  if (length > familyBits(family) - 2)
    throw new ParseError(
      `${path}: ${subnet} is too small to allocate from; use a /${familyBits(family) - 2} or shorter`,
    );
  const { first, last } = hostAddresses(subnet, family);
  return { family, subnet, first, last, gateway: first };
}

/** An address that must be one of the subnet's usable ones; undefined if absent. */
function findAddress(subnet: Range, value: unknown, path: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const text = getText(value, path);
  const ip = parseAt(path, () => parseIp(text));
  if (!contains(subnet, ip))
    throw new ParseError(`${path}: ${ip} is not one of the addresses of ${formatRange(subnet)}`);
  return ip;
}

/** A range with its name in messages. */
interface NamedRange {
  readonly range: Range;
  readonly path: string;
}

/** All pairs are compared: there are few ranges (maxRanges). */
function refuseOverlap(ranges: readonly NamedRange[]): void {
  for (const later of ranges)
    for (const earlier of ranges) {
      if (earlier === later) break;
      if (rangesOverlap(earlier.range, later.range))
        throw new ParseError(
          `${later.path}: ${formatRange(later.range)} overlaps ${formatRange(earlier.range)} of ${earlier.path}`,
        );
    }
}

function rangesOverlap(a: Range, b: Range): boolean {
  return a.family === b.family && compareIps(a.first, b.last) <= 0 && compareIps(b.first, a.last) <= 0;
}

function getList(value: unknown, path: string): unknown[] {
  if (!Array.isArray(value)) throw new ParseError(`${path} must be a list`);
  return value;
}

function getText(value: unknown, path: string): string {
  if (typeof value !== "string" || value === "") throw new ParseError(`${path} must be a non-empty string`);
  return value;
}
