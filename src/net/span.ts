// Prefixes as the first and the last of their addresses, in values that JavaScript compares in the
// order of addresses: numbers for IPv4, text of eight UTF-16 units for IPv6. Sorted once, thousands of
// prefixes show what contains what in one pass, whatever lengths they have.
import { familyOf, ipv4Number } from "./ip.ts";
import { prefixBytes } from "./prefix.ts";

export interface Span {
  readonly first: number | string;
  readonly last: number | string;
}

/** The addresses of a canonical prefix. */
export function spanOf(prefix: string): Span {
  if (familyOf(prefix) === 6) return ipv6Span(prefix);
  const first = ipv4Number(prefix);
  return { first, last: first + 2 ** (32 - Number(prefix.slice(prefix.indexOf("/") + 1))) - 1 };
}

function ipv6Span(prefix: string): Span {
  const { bytes, length } = prefixBytes(prefix);
  let [first, last] = ["", ""];
  for (let i = 0; i < 8; i++) {
    const group = ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number);
    // Bits behind the prefix: none of this group's, some, or all.
    const hostBits = Math.min(Math.max(16 * (i + 1) - length, 0), 16);
    first += String.fromCharCode(group);
    last += String.fromCharCode(group | (2 ** hostBits - 1));
  }
  return { first, last };
}

/** Orders spans by family and address; a container stands before its parts. */
export function compareSpans(a: Span, b: Span): number {
  if (typeof a.first !== typeof b.first) return typeof a.first === "number" ? -1 : 1;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  if (a.last === b.last) return 0;
  return a.last > b.last ? -1 : 1;
}

/** True if every address of `inner` is in `outer`; families never mix. */
export function spanContains(outer: Span, inner: Span): boolean {
  return typeof outer.first === typeof inner.first && outer.first <= inner.first && inner.last <= outer.last;
}

/** True if the two have an address in common. */
export function spansOverlap(a: Span, b: Span): boolean {
  return typeof a.first === typeof b.first && a.first <= b.last && b.first <= a.last;
}
