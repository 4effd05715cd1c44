// Rules read from the kernel's expressions: a statement is read by taking from the
// expressions what it might be and writing that again (statements.ts). It is
// that statement only if all is the same.
import { type Family, formatIp } from "../../net/ip.ts";
import type { IcmpType, NftRouteType, NftRule, NftStatement } from "../../net/nftables.ts";
import { AF_INET, readU16BigEndian, readU32 } from "../../wire/codec.ts";
import {
  type Expression,
  NF_ACCEPT,
  NFT_CMP_NEQ,
  NFT_CT_DIRECTION,
  NFT_CT_STATUS,
  NFT_FIB_RESULT_OIF,
  NFT_FIB_RESULT_OIFNAME,
  NFT_GOTO,
  NFT_LOOKUP_F_INV,
  NFT_META_IIF,
  NFT_META_IIFGROUP,
  NFT_META_IIFNAME,
  NFT_META_L4PROTO,
  NFT_META_MARK,
  NFT_META_NFPROTO,
  NFT_META_OIF,
  NFT_META_OIFNAME,
  NFT_PAYLOAD_TRANSPORT_HEADER,
  NFTA_FIB_F_IIF,
  NFTA_FIB_F_MARK,
  NFTA_FIB_F_SADDR,
} from "../../wire/nftables-expressions.ts";
import {
  addressAt,
  familyAfter,
  icmpTypes,
  ipprotocols,
  nameFrom,
  portAt,
  portBytes,
  routeTypes,
  statementExpressions,
  translations,
} from "./statements.ts";

export function toNftRule(expressions: readonly Expression[]): NftRule {
  const keys = expressions.map(comparable);
  const rule: NftStatement[] = [];
  let known: Family | undefined;
  for (let at = 0; at < expressions.length; ) {
    const guess = guessStatement(expressions.slice(at), known);
    const written = guess === undefined ? [] : statementExpressions(guess, known);
    const isRight = written.every((expression, i) => comparable(expression) === keys[at + i]);
    const statement = isRight ? guess : undefined;
    rule.push(statement ?? { kind: "unknown", expression: nameOf(expressions[at] as Expression) });
    if (statement !== undefined) known = familyAfter(statement, known);
    at += statement === undefined ? 1 : written.length;
  }
  return rule;
}

type Of<Name extends Expression["name"]> = Extract<Expression, { name: Name }>;

/** What the first expressions may be the beginning of; what is not asked here is compared afterwards. */
function guessStatement(expressions: readonly Expression[], known?: Family): NftStatement | undefined {
  const [first, second, third, fourth] = expressions;
  if (first?.name === "rt") return { kind: "clampMss" };
  if (first?.name === "reject") return { kind: "reject" };
  if (first?.name === "immediate") return guessVerdict(first);
  if (first?.name === "payload" && first.data.NFTA_PAYLOAD_BASE === NFT_PAYLOAD_TRANSPORT_HEADER)
    return { kind: "wireguardMessage" };
  if (first?.name === "payload")
    return known === undefined
      ? { kind: "senderInSet", set: setOf(second) }
      : guessAddress(known, first, second);
  if (first?.name === "ct") return guessConnection(first, second, third);
  const value = comparedWith(second);
  if (first?.name === "fib") return guessRoute(first, second);
  if (first?.name !== "meta") return undefined;
  const key = first.data.NFTA_META_KEY;
  if (key === NFT_META_IIF) return { kind: "loopback", direction: "iif" };
  if (key === NFT_META_OIF) return { kind: "loopback", direction: "oif" };
  if (second?.name === "dynset")
    return { kind: "countInterface", set: second.data.NFTA_DYNSET_SET_NAME ?? "" };
  if (key === NFT_META_IIFNAME) return { kind: "interface", direction: "iif", name: nameFrom(value) };
  if (key === NFT_META_OIFNAME) return { kind: "interface", direction: "oif", name: nameFrom(value) };
  if (key === NFT_META_IIFGROUP) return { kind: "fromGroup", group: u32From(value) };
  if (key === NFT_META_L4PROTO) return guessTransport(value, third, fourth);
  if (key === NFT_META_MARK) return guessMark(second, third);
  if (key !== NFT_META_NFPROTO) return undefined;
  const family = value?.[0] === AF_INET ? 4 : 6;
  return third?.name === "meta" ? guessIcmp(family, expressions[5]) : guessAddress(family, third, fourth);
}

function guessTransport(
  value: Uint8Array | undefined,
  third: Expression | undefined,
  fourth: Expression | undefined,
): NftStatement | undefined {
  const protocol = value?.[0];
  if (protocol === ipprotocols.icmp) return guessIcmp(4, fourth);
  if (protocol === ipprotocols.icmpv6) return guessIcmp(6, fourth);
  const port = comparedWith(fourth);
  if (third?.name !== "payload" || port?.length !== portBytes) return { kind: "tcpSyn" };
  return {
    kind: "port",
    protocol: protocol === ipprotocols.tcp ? "tcp" : "udp",
    field: third.data.NFTA_PAYLOAD_OFFSET === portAt.dport ? "dport" : "sport",
    port: readU16BigEndian(port, 0),
  };
}

function guessIcmp(family: Family, compared: Expression | undefined): NftStatement | undefined {
  const number = comparedWith(compared)?.[0];
  const types = Object.entries(icmpTypes[family]) as [IcmpType, number][];
  const type = types.find((entry) => entry[1] === number)?.[0];
  return type === undefined ? undefined : { kind: "icmp", family, type };
}

/** By which result a route look-up asks for, and of which address. */
function guessRoute({ data }: Of<"fib">, compared: Expression | undefined): NftStatement {
  const { NFTA_FIB_RESULT: result, NFTA_FIB_FLAGS: flags = 0 } = data;
  const field = (flags & NFTA_FIB_F_SADDR) !== 0 ? "saddr" : "daddr";
  const value = comparedWith(compared);
  if (result === NFT_FIB_RESULT_OIFNAME)
    return { kind: field === "saddr" ? "routedBackBy" : "routedBy", device: nameFrom(value) };
  if (result === NFT_FIB_RESULT_OIF) {
    if ((flags & NFTA_FIB_F_IIF) === 0) return { kind: "routed" };
    const marked = (flags & NFTA_FIB_F_MARK) !== 0 ? { marked: true as const } : {};
    return { kind: "routedBack", ...marked, ...(u32From(value) === 0 ? { not: true as const } : {}) };
  }
  const types = Object.entries(routeTypes) as [NftRouteType, number][];
  const type = types.find((entry) => entry[1] === u32From(value))?.[0];
  if (type !== undefined) return { kind: "routeType", type };
  const isNot = compared?.name === "cmp" && compared.data.NFTA_CMP_OP === NFT_CMP_NEQ;
  return { kind: "local", field, ...(isNot ? { not: true } : {}) };
}

function guessConnection(
  { data }: Of<"ct">,
  second: Expression | undefined,
  third: Expression | undefined,
): NftStatement | undefined {
  if (data.NFTA_CT_KEY === NFT_CT_DIRECTION)
    return { kind: "direction", of: comparedWith(second)?.[0] === 0 ? "original" : "reply" };
  if (data.NFTA_CT_KEY === NFT_CT_STATUS && third?.name === "cmp" && third.data.NFTA_CMP_OP === NFT_CMP_NEQ)
    return { kind: "translated" };
  const guess = guessMark(second, third);
  if (data.NFTA_CT_KEY === NFT_CT_STATUS && guess?.kind === "hasMark")
    return { kind: "notTranslated", of: guess.mark.mask === translations.both ? "both" : "destination" };
  if (guess?.kind === "hasMark") return { kind: "hasConnectionMark", mark: guess.mark };
  return guess?.kind === "setMark" ? { kind: "setConnectionMark", mark: guess.mark } : undefined;
}

function guessAddress(
  family: Family,
  loaded: Expression | undefined,
  compared: Expression | undefined,
): NftStatement | undefined {
  if (loaded?.name !== "payload") return undefined;
  const field = loaded.data.NFTA_PAYLOAD_OFFSET === addressAt[family].saddr ? "saddr" : "daddr";
  if (compared?.name === "lookup") {
    const not = compared.data.NFTA_LOOKUP_FLAGS === NFT_LOOKUP_F_INV ? { not: true as const } : {};
    return { kind: "inSet", family, field, set: setOf(compared), ...not };
  }
  const ip = comparedWith(compared);
  return ip?.length === addressAt[family].bytes ? { kind: "address", field, ip: formatIp(ip) } : undefined;
}

function setOf(expression: Expression | undefined): string {
  return expression?.name === "lookup" ? (expression.data.NFTA_LOOKUP_SET ?? "") : "";
}

function comparedWith(expression: Expression | undefined): Uint8Array | undefined {
  return expression?.name === "cmp" ? expression.data.NFTA_CMP_DATA?.NFTA_DATA_VALUE : undefined;
}

function guessVerdict({ data }: Of<"immediate">): NftStatement | undefined {
  const verdict = data.NFTA_IMMEDIATE_DATA?.NFTA_DATA_VERDICT;
  if (verdict?.NFTA_VERDICT_CODE === NFT_GOTO)
    return { kind: "goto", chain: verdict.NFTA_VERDICT_CHAIN ?? "" };
  return { kind: "verdict", verdict: verdict?.NFTA_VERDICT_CODE === NF_ACCEPT ? "accept" : "drop" };
}

function guessMark(second: Expression | undefined, third: Expression | undefined): NftStatement | undefined {
  if (second?.name !== "bitwise") return undefined;
  const kept = u32From(second.data.NFTA_BITWISE_MASK?.NFTA_DATA_VALUE);
  if (third?.name === "cmp") {
    const mark = u32From(third.data.NFTA_CMP_DATA?.NFTA_DATA_VALUE);
    return { kind: "hasMark", mark: { mark, mask: kept } };
  }
  const mark = u32From(second.data.NFTA_BITWISE_XOR?.NFTA_DATA_VALUE);
  // Bits that are kept and inverted are not set.
  return (mark & kept) === 0 ? { kind: "setMark", mark: { mark, mask: ~kept >>> 0 } } : undefined;
}

/**
 * Equal for two expressions exactly where they do the same. The kernel also says
 * what is 0, which is the default of everything; attributes of later kernels are passed over.
 */
function comparable({ name, ...rest }: Expression): string {
  return `${name} ${JSON.stringify(rest, sorted)}`;
}

function sorted(key: string, value: unknown): unknown {
  if (value === 0 || key === "unknown") return undefined;
  if (value instanceof Uint8Array) return value.toHex();
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function nameOf(expression: Expression): string {
  return expression.name === "unknown" ? expression.kernelName : expression.name;
}

/** 0 for anything but 4 bytes. */
function u32From(bytes: Uint8Array | undefined): number {
  return bytes?.length === 4 ? readU32(bytes, 0) : 0;
}
