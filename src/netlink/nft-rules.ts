// Rules as statements and as the kernel's expressions. A statement is written as
// nft(8) writes it, and read back by taking from the expressions what it might
// be and writing that again: it is that statement only if all is the same.

import { type Family, familyOf, formatIp, ipBytes } from "../net/ip.ts";
import type { NftRule, NftStatement } from "../net/nftables.ts";
import { AF_INET, AF_INET6, readU16BigEndian, readU32 } from "../wire/codec.ts";
import {
  type Expression,
  NF_ACCEPT,
  NF_DROP,
  NFT_CMP_EQ,
  NFT_CMP_NEQ,
  NFT_GOTO,
  NFT_META_IIF,
  NFT_META_IIFNAME,
  NFT_META_L4PROTO,
  NFT_META_MARK,
  NFT_META_NFPROTO,
  NFT_META_OIF,
  NFT_META_OIFNAME,
  NFT_PAYLOAD_NETWORK_HEADER,
  NFT_PAYLOAD_TRANSPORT_HEADER,
} from "../wire/nftables-expressions.ts";
import {
  bitwise,
  clampMss,
  compare,
  decide,
  destinationType,
  loadMeta,
  loadPayload,
  lookup,
  storeMark,
} from "./nft-expressions.ts";

const loopbackIndex = 1;
const interfaceNameBytes = 16;
const rtnUnicast = 1;
const rtnLocal = 2;
const portBytes = 2;
/** Where Ethernet's ARP has the sender's IPv4 address (RFC 826). */
const arpSenderIpOffset = 14;
const arpIpBytes = 4;
const tcpFlagsOffset = 13;
const tcpSynFlag = 2;

const ipprotocols = { tcp: 6, udp: 17 } as const;
/** Where ports are in the headers of TCP and UDP. */
const portAt = { sport: 0, dport: 2 } as const;

/** Where addresses are in the headers of IPv4 and IPv6, and how long. */
const addressAt = {
  4: { family: AF_INET, saddr: 12, daddr: 16, bytes: 4 },
  6: { family: AF_INET6, saddr: 8, daddr: 24, bytes: 16 },
} as const;

export function toExpressions(rule: NftRule): Expression[] {
  return rule.flatMap(statementExpressions);
}

export function toNftRule(expressions: readonly Expression[]): NftRule {
  const keys = expressions.map(comparable);
  const rule: NftStatement[] = [];
  for (let at = 0; at < expressions.length; ) {
    const guess = guessStatement(expressions.slice(at));
    const written = guess === undefined ? [] : statementExpressions(guess);
    const isRight = written.every((expression, i) => comparable(expression) === keys[at + i]);
    const statement = isRight ? guess : undefined;
    rule.push(statement ?? { kind: "unknown", expression: nameOf(expressions[at] as Expression) });
    at += statement === undefined ? 1 : written.length;
  }
  return rule;
}

function statementExpressions(statement: NftStatement): Expression[] {
  switch (statement.kind) {
    case "loopback": {
      const key = statement.direction === "iif" ? NFT_META_IIF : NFT_META_OIF;
      return [loadMeta(key), compare(NFT_CMP_EQ, u32Bytes(loopbackIndex))];
    }
    case "interface": {
      const key = statement.direction === "iif" ? NFT_META_IIFNAME : NFT_META_OIFNAME;
      return [loadMeta(key), compare(NFT_CMP_EQ, nameBytes(statement.name))];
    }
    case "inSet":
      return [...loadAddress(statement.family, statement.field), lookup(statement.set)];
    case "senderInSet":
      return [loadPayload(NFT_PAYLOAD_NETWORK_HEADER, arpSenderIpOffset, arpIpBytes), lookup(statement.set)];
    case "address":
      return [
        ...loadAddress(familyOf(statement.ip), statement.field),
        compare(NFT_CMP_EQ, ipBytes(statement.ip)),
      ];
    case "port": {
      const { protocol, field, port } = statement;
      return [
        ...isProtocol(protocol),
        loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, portAt[field], portBytes),
        compare(NFT_CMP_EQ, Uint8Array.of(port >>> 8, port)),
      ];
    }
    case "notLocal":
      return [destinationType, compare(NFT_CMP_NEQ, u32Bytes(rtnLocal))];
    case "notUnicast":
      return [destinationType, compare(NFT_CMP_NEQ, u32Bytes(rtnUnicast))];
    case "hasMark": {
      const { mark, mask } = statement.mark;
      return [
        loadMeta(NFT_META_MARK),
        bitwise(u32Bytes(mask), u32Bytes(0)),
        compare(NFT_CMP_EQ, u32Bytes(mark)),
      ];
    }
    case "setMark": {
      const { mark, mask } = statement.mark;
      return [loadMeta(NFT_META_MARK), bitwise(u32Bytes(~mask >>> 0), u32Bytes(mark)), storeMark];
    }
    case "tcpSyn":
      return [
        ...isProtocol("tcp"),
        loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, tcpFlagsOffset, 1),
        bitwise(Uint8Array.of(tcpSynFlag), Uint8Array.of(0)),
        compare(NFT_CMP_NEQ, Uint8Array.of(0)),
      ];
    case "clampMss":
      return clampMss;
    case "verdict":
      return [decide({ NFTA_VERDICT_CODE: statement.verdict === "accept" ? NF_ACCEPT : NF_DROP })];
    case "goto":
      return [decide({ NFTA_VERDICT_CODE: NFT_GOTO, NFTA_VERDICT_CHAIN: statement.chain })];
    case "unknown":
      throw new Error(`An nftables expression "${statement.expression}" can only be read.`);
  }
}

/** What the first expressions may be the beginning of; what is not asked here is compared afterwards. */
function guessStatement([first, second, third, fourth]: readonly Expression[]): NftStatement | undefined {
  if (first?.name === "rt") return { kind: "clampMss" };
  if (first?.name === "immediate") return guessVerdict(first);
  if (first?.name === "payload") return { kind: "senderInSet", set: setOf(second) };
  const value = comparedWith(second);
  if (first?.name === "fib") return { kind: u32From(value) === rtnLocal ? "notLocal" : "notUnicast" };
  if (first?.name !== "meta") return undefined;
  const key = first.data.NFTA_META_KEY;
  if (key === NFT_META_IIF) return { kind: "loopback", direction: "iif" };
  if (key === NFT_META_OIF) return { kind: "loopback", direction: "oif" };
  if (key === NFT_META_IIFNAME) return { kind: "interface", direction: "iif", name: nameFrom(value) };
  if (key === NFT_META_OIFNAME) return { kind: "interface", direction: "oif", name: nameFrom(value) };
  if (key === NFT_META_L4PROTO) return guessTransport(value, third, fourth);
  if (key === NFT_META_MARK) return guessMark(second, third);
  return key === NFT_META_NFPROTO ? guessAddress(value, third, fourth) : undefined;
}

function guessTransport(
  value: Uint8Array | undefined,
  third: Expression | undefined,
  fourth: Expression | undefined,
): NftStatement {
  const port = comparedWith(fourth);
  if (third?.name !== "payload" || port?.length !== portBytes) return { kind: "tcpSyn" };
  return {
    kind: "port",
    protocol: value?.[0] === ipprotocols.tcp ? "tcp" : "udp",
    field: third.data.NFTA_PAYLOAD_OFFSET === portAt.dport ? "dport" : "sport",
    port: readU16BigEndian(port, 0),
  };
}

function guessAddress(
  value: Uint8Array | undefined,
  third: Expression | undefined,
  fourth: Expression | undefined,
): NftStatement | undefined {
  if (third?.name !== "payload") return undefined;
  const family = value?.[0] === AF_INET ? 4 : 6;
  const field = third.data.NFTA_PAYLOAD_OFFSET === addressAt[family].saddr ? "saddr" : "daddr";
  if (fourth?.name === "lookup") return { kind: "inSet", family, field, set: setOf(fourth) };
  const ip = comparedWith(fourth);
  return ip?.length === addressAt[family].bytes ? { kind: "address", field, ip: formatIp(ip) } : undefined;
}

function setOf(expression: Expression | undefined): string {
  return expression?.name === "lookup" ? (expression.data.NFTA_LOOKUP_SET ?? "") : "";
}

function comparedWith(expression: Expression | undefined): Uint8Array | undefined {
  return expression?.name === "cmp" ? expression.data.NFTA_CMP_DATA?.NFTA_DATA_VALUE : undefined;
}

function guessVerdict({ data }: Extract<Expression, { name: "immediate" }>): NftStatement | undefined {
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

function loadAddress(family: Family, field: "saddr" | "daddr"): Expression[] {
  const { family: number, bytes, [field]: offset } = addressAt[family];
  return [
    loadMeta(NFT_META_NFPROTO),
    compare(NFT_CMP_EQ, Uint8Array.of(number)),
    loadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset, bytes),
  ];
}

function isProtocol(protocol: keyof typeof ipprotocols): Expression[] {
  return [loadMeta(NFT_META_L4PROTO), compare(NFT_CMP_EQ, Uint8Array.of(ipprotocols[protocol]))];
}

/** As the kernel compares it: all 16 bytes, so that "wg" is not the beginning of a name. */
function nameBytes(name: string): Uint8Array {
  const bytes = new Uint8Array(interfaceNameBytes);
  bytes.set(new TextEncoder().encode(name).subarray(0, interfaceNameBytes - 1));
  return bytes;
}

function nameFrom(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes ?? new Uint8Array()).replace(/\0+$/, "");
}

/** In host order, as marks and indexes are compared. */
function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** 0 for anything but 4 bytes. */
function u32From(bytes: Uint8Array | undefined): number {
  return bytes?.length === 4 ? readU32(bytes, 0) : 0;
}
