// The codec of a statement writes it as the kernel's expressions, in the order of nft(8), and reads the
// statement that the expressions of a rule begin with. statements.ts has the table of all codecs. A
// result of `match` counts only if `encode` makes the same expressions of it, so `match` checks only
// what it needs to find the statement's operands.
import type { Family } from "../../net/ip.ts";
import type { NftStatement } from "../../net/nftables.ts";
import type { Expression } from "../../wire/nftables-expressions.ts";

export interface StatementCodec<Statement> {
  /** `known` is the family that the statements before have let pass. */
  readonly encode: (statement: Statement, known: Family | undefined) => readonly Expression[];
  /** Undefined if the expressions do not begin with such a statement. */
  readonly match: (expressions: readonly Expression[], known: Family | undefined) => Statement | undefined;
}

export type Kind = Exclude<NftStatement["kind"], "unknown">;
export type Codecs<K extends Kind> = {
  readonly [Each in K]: StatementCodec<Extract<NftStatement, { kind: Each }>>;
};

type KnownExpression = Exclude<Expression, { readonly name: "unknown" }>;
type Named<Name extends KnownExpression["name"]> = Extract<KnownExpression, { readonly name: Name }>;

/** The data of an expression of that name; undefined if it is another, or missing. */
export function dataOf<Name extends KnownExpression["name"]>(
  expression: Expression | undefined,
  name: Name,
): Named<Name>["data"] | undefined {
  return expression?.name === name ? (expression as Named<Name>).data : undefined;
}

/** The value that the register is compared with. */
export function comparedWith(expression: Expression | undefined): Uint8Array | undefined {
  return dataOf(expression, "cmp")?.NFTA_CMP_DATA?.NFTA_DATA_VALUE;
}

/** Returns the property of the packet (NFT_META_*) that the expression loads or stores. */
export function metaKey(expression: Expression | undefined): number | undefined {
  return dataOf(expression, "meta")?.NFTA_META_KEY;
}

/** The key of `table` whose number is `value`. */
export function keyOf<Key extends string>(
  table: Readonly<Partial<Record<Key, number>>>,
  value: number | undefined,
): Key | undefined {
  return (Object.keys(table) as Key[]).find((key) => table[key] === value);
}

const interfaceNameBytes = 16;

/** The kernel compares all 16 bytes, so that "wg" is not the beginning of a name. */
export function nameBytes(name: string): Uint8Array {
  const bytes = new Uint8Array(interfaceNameBytes);
  bytes.set(new TextEncoder().encode(name).subarray(0, interfaceNameBytes - 1));
  return bytes;
}

/** The reverse; a missing name is empty. */
export function nameFrom(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes ?? new Uint8Array()).replace(/\0+$/, "");
}

/** Returns the bytes in host order, in which the kernel compares marks and indexes. */
export function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}
