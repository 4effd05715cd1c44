// Converts elements of sets between text and the kernel's form: an interval is its first key and the
// first key behind it. If two intervals touch, the end of one and the beginning of the next have the
// same key.
import { formatIp, ipBytes } from "../../net/ip.ts";
import type { NftCounter, NftSetDeclaration } from "../../net/nftables.ts";
import { prefixBytes } from "../../net/prefix.ts";
import { DecodeError } from "../../wire/error.ts";
import {
  NFT_SET_ELEM_CATCHALL,
  NFT_SET_ELEM_INTERVAL_END,
  type SetElement,
} from "../../wire/nftables-elements.ts";
import { nameFrom } from "./statement-codec.ts";

/** The bytes of a key, by what the set is of. */
export const keyBytes = { 4: 4, 6: 16, ifname: 16 } as const satisfies Record<
  NftSetDeclaration["family"],
  number
>;

/** The element that matches what no other element matches. */
const everything = "*";

/** The elements of one prefix or address; at most two. */
export function toSetElements({ interval }: NftSetDeclaration, element: string): SetElement[] {
  if (element === everything) return [{ key: new Uint8Array(0), flags: NFT_SET_ELEM_CATCHALL }];
  if (!interval) return [{ key: ipBytes(element), flags: 0 }];
  const { first, last } = bounds(element);
  const start = { key: first, flags: 0 };
  const after = increased(last);
  return after === undefined ? [start] : [start, { key: after, flags: NFT_SET_ELEM_INTERVAL_END }];
}

/** Shows each element as text, with what it has counted. Throws DecodeError for a key that is none of such a set. */
export function eachElement(
  { family, interval }: NftSetDeclaration,
  elements: readonly SetElement[],
  visit: (element: string, counter: NftCounter | undefined) => void,
): void {
  const keyed: SetElement[] = [];
  for (const element of elements)
    if (element.key.length === keyBytes[family]) keyed.push(element);
    else if (element.key.length === 0) visit(everything, element.counter);
    else throw new DecodeError(`a key of ${element.key.length} bytes in a set of ${keyBytes[family]}`);
  if (!interval) {
    for (const { key, counter } of keyed) visit(family === "ifname" ? nameFrom(key) : formatIp(key), counter);
    return;
  }
  let open: SetElement | undefined;
  const close = (behind: Uint8Array | undefined) => {
    if (open !== undefined) visit(formatInterval(open.key, behind), open.counter);
    open = undefined;
  };
  for (const element of inOrder(keyed)) {
    // The end of nothing is what nft(8) puts in front of the first interval.
    close(element.key);
    if (!isEnd(element)) open = element;
  }
  close(undefined);
}

/** Ascending, ends before beginnings; the kernel sends it descending, so that turning it round is enough. */
function inOrder(elements: readonly SetElement[]): readonly SetElement[] {
  const ascending = [...elements].reverse();
  for (let i = 1; i < ascending.length; i++)
    if (compareElements(ascending[i - 1] as SetElement, ascending[i] as SetElement) > 0)
      return ascending.sort(compareElements);
  return ascending;
}

function compareElements(a: SetElement, b: SetElement): number {
  const difference = compareKeys(a.key, b.key);
  return difference !== 0 ? difference : Number(isEnd(b)) - Number(isEnd(a));
}

function compareKeys(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

function isEnd({ flags }: SetElement): boolean {
  return (flags & NFT_SET_ELEM_INTERVAL_END) !== 0;
}

/** First and last address of a prefix, or of a range "FIRST-LAST". */
function bounds(element: string): { first: Uint8Array; last: Uint8Array } {
  const dash = element.indexOf("-");
  if (dash >= 0) return { first: ipBytes(element.slice(0, dash)), last: ipBytes(element.slice(dash + 1)) };
  const { bytes: first, length } = prefixBytes(element);
  const last = first.slice();
  for (let i = 0; i < last.length; i++) last[i] = (last[i] as number) | hostBits(i, length);
  return { first, last };
}

/** Returns "10.2.0.0/24", or "10.2.0.1-10.2.0.9" if it is no prefix. `behind` is absent at the end of all addresses. */
function formatInterval(first: Uint8Array, behind: Uint8Array | undefined): string {
  const ipv4Length = first.length === 4 ? findIpv4Length(first, behind) : undefined;
  if (ipv4Length !== undefined) return `${formatIp(first)}/${ipv4Length}`;
  const last = behind === undefined ? new Uint8Array(first.length).fill(0xff) : decreased(behind);
  const length = commonBits(first, last);
  for (let i = 0; i < first.length; i++) {
    const host = hostBits(i, length);
    if (((first[i] as number) & host) !== 0 || ((last[i] as number) & host) !== host)
      return `${formatIp(first)}-${formatIp(last)}`;
  }
  return `${formatIp(first)}/${length}`;
}

/** Computes with numbers, which are much faster than bytes; undefined if it is no prefix. */
function findIpv4Length(first: Uint8Array, behind: Uint8Array | undefined): number | undefined {
  const start = ipv4Number(first);
  const size = (behind === undefined ? 2 ** 32 : ipv4Number(behind)) - start;
  const length = 32 - Math.log2(size);
  return Number.isInteger(length) && start % size === 0 ? length : undefined;
}

function ipv4Number(bytes: Uint8Array): number {
  let number = 0;
  for (let i = 0; i < bytes.length; i++) number = number * 256 + (bytes[i] as number);
  return number;
}

/** The bits of byte `i` that are behind a prefix of this length. */
function hostBits(i: number, length: number): number {
  return 0xff >> Math.min(8, Math.max(0, length - 8 * i));
}

function commonBits(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) ^ (b[i] as number);
    if (difference !== 0) return 8 * i + Math.clz32(difference) - 24;
  }
  return 8 * a.length;
}

/** The address behind; undefined behind the last of all. */
function increased(address: Uint8Array): Uint8Array | undefined {
  const bytes = address.slice();
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = (bytes[i] as number) + 1;
    if (bytes[i] !== 0) return bytes;
  }
  return undefined;
}

function decreased(address: Uint8Array): Uint8Array {
  const bytes = address.slice();
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = (bytes[i] as number) - 1;
    if (bytes[i] !== 0xff) break;
  }
  return bytes;
}
