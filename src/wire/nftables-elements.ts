// Elements of sets, NFTA_SET_ELEM_* (linux/netfilter/nf_tables.h), of which
// there may be a hundred thousand: read and written by loops of their own
// instead of by tables. An interval is two elements, its first key and the
// first key after it:
//
//   10.2.0.0/24, 10.2.1.0/24 = 10.2.0.0 | 10.2.1.0 END | 10.2.1.0 | 10.2.2.0 END
import type { NftCounter } from "../net/nftables.ts";
import { NLA_F_NESTED } from "./attributes.ts";
import { type Codec, readU16 } from "./codec.ts";
import { DecodeError } from "./error.ts";
import { u32Be, u64Be } from "./nftables-numbers.ts";

const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_SET_ELEM_FLAGS = 3;
const NFTA_SET_ELEM_EXPR = 7;
const NFTA_DATA_VALUE = 1;
const NFTA_EXPR_DATA = 2;
const NFTA_COUNTER_BYTES = 1;
const NFTA_COUNTER_PACKETS = 2;

export const NFT_SET_ELEM_INTERVAL_END = 1;
/** An element without a key, which matches whatever no other does. */
export const NFT_SET_ELEM_CATCHALL = 2;

/** The most bytes that an element takes as it is written here. */
export const maxElementBytes = 36;

const headerBytes = 4;
const NLA_TYPE_MASK = 0x3fff;

export interface SetElement {
  /** Empty for the element that matches everything. */
  readonly key: Uint8Array;
  readonly flags: number;
  /** Only read: the kernel makes it as the set declares it. */
  readonly counter?: NftCounter | undefined;
}

/** Codec of NFTA_SET_ELEM_LIST_ELEMENTS. */
export const setElements: Codec<readonly SetElement[]> = {
  flags: NLA_F_NESTED,
  write(to, elements) {
    for (const { key, flags } of elements) {
      const element = to.beginAttribute(NFTA_LIST_ELEM | NLA_F_NESTED);
      if (key.length > 0) {
        const data = to.beginAttribute(NFTA_SET_ELEM_KEY | NLA_F_NESTED);
        const value = to.beginAttribute(NFTA_DATA_VALUE);
        to.raw(key);
        to.endAttribute(value);
        to.endAttribute(data);
      }
      if (flags !== 0) {
        const attribute = to.beginAttribute(NFTA_SET_ELEM_FLAGS);
        u32Be.write(to, flags);
        to.endAttribute(attribute);
      }
      to.endAttribute(element);
    }
  },
  read(bytes, at, end) {
    const elements: SetElement[] = [];
    for (let from = at; from + headerBytes <= end; from = next(bytes, from))
      elements.push(readElement(bytes, from + headerBytes, endOf(bytes, from, end)));
    return elements;
  },
};

function readElement(bytes: Uint8Array, at: number, end: number): SetElement {
  let key: Uint8Array = noKey;
  let flags = 0;
  let counter: NftCounter | undefined;
  for (let from = at; from + headerBytes <= end; from = next(bytes, from)) {
    const valueAt = from + headerBytes;
    const valueEnd = endOf(bytes, from, end);
    switch (readU16(bytes, from + 2) & NLA_TYPE_MASK) {
      case NFTA_SET_ELEM_KEY:
        key = readKey(bytes, valueAt, valueEnd);
        break;
      case NFTA_SET_ELEM_FLAGS:
        flags = u32Be.read(bytes, valueAt, valueEnd);
        break;
      case NFTA_SET_ELEM_EXPR:
        counter = findCounter(bytes, valueAt, valueEnd);
        break;
    }
  }
  return { key, flags, counter };
}

function readKey(bytes: Uint8Array, at: number, end: number): Uint8Array {
  const value = find(bytes, at, end, NFTA_DATA_VALUE);
  return value < 0 ? noKey : bytes.slice(value + headerBytes, endOf(bytes, value, end));
}

/** Undefined if the expression is another than a counter. */
function findCounter(bytes: Uint8Array, at: number, end: number): NftCounter | undefined {
  const data = find(bytes, at, end, NFTA_EXPR_DATA);
  if (data < 0) return undefined;
  const dataEnd = endOf(bytes, data, end);
  const packets = find(bytes, data + headerBytes, dataEnd, NFTA_COUNTER_PACKETS);
  const count = find(bytes, data + headerBytes, dataEnd, NFTA_COUNTER_BYTES);
  if (packets < 0 || count < 0) return undefined;
  return {
    packets: u64Be.read(bytes, packets + headerBytes, endOf(bytes, packets, dataEnd)),
    bytes: u64Be.read(bytes, count + headerBytes, endOf(bytes, count, dataEnd)),
  };
}

/** Returns the offset of the attribute of a type, -1 if there is none. Throws DecodeError. */
function find(bytes: Uint8Array, at: number, end: number, type: number): number {
  for (let from = at; from + headerBytes <= end; from = next(bytes, from)) {
    endOf(bytes, from, end);
    if ((readU16(bytes, from + 2) & NLA_TYPE_MASK) === type) return from;
  }
  return -1;
}

/** Returns the end of the attribute that begins at `from`. Throws DecodeError. */
function endOf(bytes: Uint8Array, from: number, end: number): number {
  const length = readU16(bytes, from);
  if (length < headerBytes || from + length > end)
    throw new DecodeError(`an attribute of ${length} bytes, but ${end - from} are left`);
  return from + length;
}

function next(bytes: Uint8Array, from: number): number {
  return from + ((readU16(bytes, from) + 3) & ~3);
}

const noKey = new Uint8Array(0);
