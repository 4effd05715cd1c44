// Finds the fewest CIDRs that hold exactly the given addresses. A node announces them if its pods get
// addresses from the network (AKS, EKS) instead of a CIDR of the node's. The result is exact, because
// an additional address would attract another node's traffic. Pure.
import { familyOf } from "../net/ip.ts";
import { comparePrefixes, formatPrefix, hostPrefix, prefixBytes } from "../net/prefix.ts";

/**
 * Canonical prefixes in their order, IPv4 first; duplicates count once. Addresses
 * come sorted, so two halves of a prefix meet at the end of what is there already:
 *
 *   .4/32 .5/32 -> .4/31;  .6/32 .7/32 -> .6/31;  .4/31 .6/31 -> .4/30
 */
export function aggregateIps(ips: readonly string[]): string[] {
  const done: string[] = [];
  for (const prefix of [...new Set(ips.map(hostPrefix))].sort(comparePrefixes)) {
    let last = prefix;
    for (let around = findUnion(done.at(-1), last); around !== undefined; ) {
      done.pop();
      last = around;
      around = findUnion(done.at(-1), last);
    }
    done.push(last);
  }
  return done;
}

/** Returns the prefix whose two halves these are; undefined if they are not. */
function findUnion(lower: string | undefined, upper: string): string | undefined {
  if (lower === undefined || familyOf(lower) !== familyOf(upper)) return undefined;
  const [a, b] = [prefixBytes(lower), prefixBytes(upper)];
  if (a.length !== b.length || a.length === 0) return undefined;
  const around = formatPrefix(a.bytes, a.length - 1);
  // Two different prefixes of one length within the same wider one are its halves.
  return around === formatPrefix(b.bytes, a.length - 1) ? around : undefined;
}
