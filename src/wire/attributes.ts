// Netlink attributes (struct nlattr, linux/netlink.h) as tables: a table names
// each attribute as the kernel header does and gives its number and codec; the
// TypeScript type of the message is inferred from it.
//
//   |<-- u16 -->|<-- u16 -->|<------ length - 4 ------>|
//   | length    | type      | payload                  | padding to 4 |
import { type Codec, type FixedCodec, readU16 } from "./codec.ts";
import { DecodeError } from "./error.ts";
import type { Writer } from "./writer.ts";

/** Marks a nest. Generic netlink insists on it; rtnetlink, which is older, goes without. */
export const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const headerBytes = 4;

/** Attribute name -> [number in the kernel header, codec of the payload]. */
export type Table = Readonly<Record<string, readonly [type: number, codec: Codec<unknown>]>>;

/** An attribute that the table does not know, kept as it came. `type` includes NLA_F_* bits. */
export interface UnknownAttribute {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** The values that a table describes. Absent and undefined both mean: no such attribute. */
export type Attributes<T extends Table> = {
  [Name in keyof T]?: (T[Name][1] extends Codec<infer Value> ? Value : never) | undefined;
} & { unknown?: readonly UnknownAttribute[] };

/** Fixed part of a message: field name -> codec, in order. */
export type Fields = Readonly<Record<string, FixedCodec<number>>>;

export type Header<F extends Fields> = { [Name in keyof F]: number };

/** Selects if attributes that the table does not know are kept or passed over. */
export type Unknown = "keep" | "skip";

/** A fixed header followed by attributes, all in one flat object. Absent header fields are written as 0. */
export interface MessageCodec<F extends Fields, T extends Table>
  extends Codec<Partial<Header<F>> & Attributes<T>> {
  write(to: Writer, value: Partial<Header<F>> & Attributes<T>): void;
  read(bytes: Uint8Array, at: number, end: number, unknown?: Unknown): Header<F> & Attributes<T>;
}

/** Codec of a message: `name` is the kernel's name of the header's struct. */
export function message<const F extends Fields, const T extends Table>(
  name: string,
  fields: F,
  table: T,
): MessageCodec<F, T> {
  const rows = Object.entries(fields);
  const types = byType(table);
  let size = 0;
  for (const [, codec] of rows) size += codec.bytes;
  size = alignUp(size);
  return {
    write(to, value) {
      const values = value as Record<string, number | undefined>;
      for (const [field, codec] of rows) codec.write(to, values[field] ?? 0);
      to.align();
      writeAttributes(to, table, value);
    },
    read(bytes, at, end, unknown = "keep") {
      if (end - at < size)
        throw new DecodeError(`${name}: has ${end - at} bytes, less than its header's ${size}`);
      const value: Record<string, unknown> = {};
      let from = at;
      for (const [field, codec] of rows) {
        value[field] = codec.read(bytes, from, from + codec.bytes);
        from += codec.bytes;
      }
      try {
        readAttributes(value, types(), bytes, at + size, end, unknown);
      } catch (error) {
        throw named(name, error);
      }
      return value as Header<F> & Attributes<T>;
    },
  };
}

/** Codec of a nest: attributes in an attribute. */
export function nested<const T extends Table>(table: T, flags = 0): Codec<Attributes<T>> {
  const types = byType(table);
  return {
    flags,
    write: (to, value) => writeAttributes(to, table, value),
    read(bytes, at, end) {
      const value = {};
      readAttributes(value, types(), bytes, at, end, "keep");
      return value as Attributes<T>;
    },
  };
}

/** Codec of a nest that is a list: each attribute in it is one item, its type an index or 0. */
export function list<Item>(item: Codec<Item>, flags = 0): Codec<readonly Item[]> {
  return {
    flags,
    write(to, items) {
      for (const value of items) writeAttribute(to, 0, item, value);
    },
    read(bytes, at, end) {
      const items: Item[] = [];
      for (let from = at; from + headerBytes <= end; ) {
        const length = attributeLength(bytes, from, end);
        items.push(item.read(bytes, from + headerBytes, from + length));
        from += alignUp(length);
      }
      return items;
    },
  };
}

type ByType = readonly ([name: string, codec: Codec<unknown>] | undefined)[];

/** The table by number, made when first read: most processes read few of their tables. */
function byType(table: Table): () => ByType {
  let types: [string, Codec<unknown>][] | undefined;
  return () => {
    if (types !== undefined) return types;
    types = [];
    for (const name in table) {
      const [type, codec] = table[name] as Table[string];
      types[type] = [name, codec];
    }
    return types;
  };
}

/** Writes in the order of the object's properties: tests compare bytes, the kernel does not care. */
function writeAttributes(to: Writer, table: Table, value: Record<string, unknown>): void {
  for (const name in value) {
    const row = table[name];
    const payload = value[name];
    if (row !== undefined && payload !== undefined) writeAttribute(to, row[0], row[1], payload);
  }
  for (const { type, bytes } of (value["unknown"] as UnknownAttribute[] | undefined) ?? []) {
    const start = to.beginAttribute(type);
    to.raw(bytes);
    to.endAttribute(start);
  }
}

function writeAttribute<T>(to: Writer, type: number, codec: Codec<T>, payload: T): void {
  const start = to.beginAttribute(type | (codec.flags ?? 0));
  codec.write(to, payload);
  to.endAttribute(start);
}

function readAttributes(
  value: Record<string, unknown>,
  types: ByType,
  bytes: Uint8Array,
  at: number,
  end: number,
  unknown: Unknown,
): void {
  let kept: UnknownAttribute[] | undefined;
  // The attribute that is being read. One handler serves all: dumps have a hundred thousand of them.
  let reading: string | undefined;
  try {
    // Fewer bytes than a header are padding.
    for (let from = at; from + headerBytes <= end; ) {
      const length = attributeLength(bytes, from, end);
      const type = readU16(bytes, from + 2);
      const row = types[type & NLA_TYPE_MASK];
      if (row !== undefined) {
        reading = row[0];
        value[reading] = row[1].read(bytes, from + headerBytes, from + length);
        reading = undefined;
      } else if (unknown === "keep") {
        kept ??= [];
        kept.push({ type, bytes: bytes.slice(from + headerBytes, from + length) });
      }
      from += alignUp(length);
    }
  } catch (error) {
    throw reading === undefined ? error : named(reading, error);
  }
  if (kept !== undefined) value["unknown"] = kept;
}

/** Returns the error with the name of its place in front: "rtmsg: RTA_METRICS: RTAX_MTU: has 2 bytes, not 4". */
function named(name: string, error: unknown): unknown {
  return error instanceof DecodeError ? new DecodeError(`${name}: ${error.message}`) : error;
}

/** Length of the attribute that begins at `from`, with its header, without padding. Throws DecodeError. */
function attributeLength(bytes: Uint8Array, from: number, end: number): number {
  const length = readU16(bytes, from);
  if (length < headerBytes || from + length > end)
    throw new DecodeError(`an attribute of ${length} bytes, but ${end - from} are left`);
  return length;
}

function alignUp(length: number): number {
  return (length + 3) & ~3;
}
