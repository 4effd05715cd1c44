// Statements of rules as the kernel's expressions, in the order in which nft(8)
// writes them. Reading them back is rules.ts'.
import { type Family, familyOf, ipBytes } from "../../net/ip.ts";
import type { IcmpType, NftRouteType, NftRule, NftStatement } from "../../net/nftables.ts";
import type { Mark } from "../../net/objects.ts";
import { AF_INET, AF_INET6 } from "../../wire/codec.ts";
import {
  type Expression,
  NF_ACCEPT,
  NF_DROP,
  NFT_CMP_EQ,
  NFT_CMP_NEQ,
  NFT_CT_DIRECTION,
  NFT_CT_MARK,
  NFT_CT_STATUS,
  NFT_FIB_RESULT_ADDRTYPE,
  NFT_FIB_RESULT_OIF,
  NFT_FIB_RESULT_OIFNAME,
  NFT_GOTO,
  NFT_META_IIF,
  NFT_META_IIFGROUP,
  NFT_META_IIFNAME,
  NFT_META_L4PROTO,
  NFT_META_MARK,
  NFT_META_NFPROTO,
  NFT_META_OIF,
  NFT_META_OIFNAME,
  NFT_PAYLOAD_NETWORK_HEADER,
  NFT_PAYLOAD_TRANSPORT_HEADER,
  NFTA_FIB_F_DADDR,
  NFTA_FIB_F_IIF,
  NFTA_FIB_F_MARK,
  NFTA_FIB_F_PRESENT,
  NFTA_FIB_F_SADDR,
} from "../../wire/nftables-expressions.ts";
import {
  bitwise,
  clampMss,
  compare,
  decide,
  loadConnection,
  loadMeta,
  loadPayload,
  lookUpRoute,
  lookup,
  rejectUnreachable,
  storeConnectionMark,
  storeMark,
  update,
} from "./expressions.ts";

const loopbackIndex = 1;
const interfaceNameBytes = 16;
/** Of a route (linux/rtnetlink.h). */
const RTN_LOCAL = 2;
export const routeTypes: Readonly<Record<NftRouteType, number>> = {
  ...{ unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8 },
};
/** Of a connection (IPS_SRC_NAT, IPS_DST_NAT, IP_CT_DIR_*; linux/netfilter/nf_conntrack_common.h). */
export const translations = { destination: 0x20, both: 0x30 } as const;
export const connectionDirections = { original: 0, reply: 1 } as const;
export const portBytes = 2;
/** Where Ethernet's ARP has the sender's IPv4 address (RFC 826). */
const arpSenderIpOffset = 14;
const arpIpBytes = 4;
const udpHeaderBytes = 8;
/** Of a message's first four bytes: the bits that none has set (the protocol's section 5.4). */
const wireguardTypeMask = Uint8Array.of(0xf8, 0xff, 0xff, 0xff);
const tcpFlagsOffset = 13;
const tcpSynFlag = 2;

export const ipprotocols = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;
/** Where ports are in the headers of TCP and UDP. */
export const portAt = { sport: 0, dport: 2 } as const;
/** The numbers of RFC 792, RFC 4443 and RFC 4861. */
export const icmpTypes: Readonly<Record<Family, Readonly<Partial<Record<IcmpType, number>>>>> = {
  4: { "destination-unreachable": 3, "time-exceeded": 11 },
  6: {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "nd-router-advert": 134,
    "nd-redirect": 137,
  },
};

/** Where addresses are in the headers of IPv4 and IPv6, and how long. */
export const addressAt = {
  4: { family: AF_INET, saddr: 12, daddr: 16, bytes: 4 },
  6: { family: AF_INET6, saddr: 8, daddr: 24, bytes: 16 },
} as const;

/** A rule asks only once of which family a packet is. */
export function toExpressions(rule: NftRule): Expression[] {
  let known: Family | undefined;
  return rule.flatMap((statement) => {
    const expressions = statementExpressions(statement, known);
    known = familyAfter(statement, known);
    return expressions;
  });
}

/** The family that packets are of which the statement has let pass. */
export function familyAfter(statement: NftStatement, known: Family | undefined): Family | undefined {
  if (statement.kind === "inSet" || statement.kind === "icmp") return statement.family;
  return statement.kind === "address" ? familyOf(statement.ip) : known;
}

/** `known`: the family that the statements before have let pass. */
export function statementExpressions(statement: NftStatement, known: Family | undefined): Expression[] {
  switch (statement.kind) {
    case "loopback": {
      const key = statement.direction === "iif" ? NFT_META_IIF : NFT_META_OIF;
      return [loadMeta(key), compare(NFT_CMP_EQ, u32Bytes(loopbackIndex))];
    }
    case "interface": {
      const key = statement.direction === "iif" ? NFT_META_IIFNAME : NFT_META_OIFNAME;
      return [loadMeta(key), compare(NFT_CMP_EQ, nameBytes(statement.name))];
    }
    case "fromGroup":
      return [loadMeta(NFT_META_IIFGROUP), compare(NFT_CMP_EQ, u32Bytes(statement.group))];
    case "inSet":
      return [...loadAddress(statement.family, statement.field, known), lookup(statement.set, statement.not)];
    case "countInterface":
      return [loadMeta(NFT_META_IIFNAME), update(statement.set)];
    case "senderInSet":
      return [loadPayload(NFT_PAYLOAD_NETWORK_HEADER, arpSenderIpOffset, arpIpBytes), lookup(statement.set)];
    case "address":
      return [
        ...loadAddress(familyOf(statement.ip), statement.field, known),
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
    case "wireguardMessage":
      return [
        loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, udpHeaderBytes, wireguardTypeMask.length),
        bitwise(wireguardTypeMask, u32Bytes(0)),
        compare(NFT_CMP_EQ, u32Bytes(0)),
      ];
    case "local": {
      const flags = statement.field === "saddr" ? NFTA_FIB_F_SADDR : NFTA_FIB_F_DADDR;
      const operator = statement.not ? NFT_CMP_NEQ : NFT_CMP_EQ;
      return [lookUpRoute(flags, NFT_FIB_RESULT_ADDRTYPE), compare(operator, u32Bytes(RTN_LOCAL))];
    }
    case "routeType":
      return [
        lookUpRoute(NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE),
        compare(NFT_CMP_EQ, u32Bytes(routeTypes[statement.type])),
      ];
    case "routedBack": {
      const { marked, not } = statement;
      const flags = NFTA_FIB_F_SADDR | (marked ? NFTA_FIB_F_MARK : 0) | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT;
      return [lookUpRoute(flags, NFT_FIB_RESULT_OIF), compare(NFT_CMP_EQ, u32Bytes(not ? 0 : 1))];
    }
    case "routedBackBy": {
      const oifname = lookUpRoute(NFTA_FIB_F_SADDR, NFT_FIB_RESULT_OIFNAME);
      return [oifname, compare(NFT_CMP_EQ, nameBytes(statement.device))];
    }
    case "routedBy": {
      const oifname = lookUpRoute(NFTA_FIB_F_DADDR | NFTA_FIB_F_MARK, NFT_FIB_RESULT_OIFNAME);
      return [oifname, compare(NFT_CMP_EQ, nameBytes(statement.device))];
    }
    case "routed": {
      const flags = NFTA_FIB_F_DADDR | NFTA_FIB_F_MARK | NFTA_FIB_F_PRESENT;
      return [lookUpRoute(flags, NFT_FIB_RESULT_OIF), compare(NFT_CMP_EQ, u32Bytes(1))];
    }
    case "icmp": {
      const { family, type } = statement;
      return [
        ...isFamily(family, known),
        ...isProtocol(family === 4 ? "icmp" : "icmpv6"),
        loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1),
        compare(NFT_CMP_EQ, Uint8Array.of(icmpTypes[family][type] ?? 0)),
      ];
    }
    case "hasMark":
      return [loadMeta(NFT_META_MARK), ...isMark(statement.mark)];
    case "setMark":
      return [loadMeta(NFT_META_MARK), putMark(statement.mark), storeMark];
    case "hasConnectionMark":
      return [loadConnection(NFT_CT_MARK), ...isMark(statement.mark)];
    case "setConnectionMark":
      return [loadConnection(NFT_CT_MARK), putMark(statement.mark), storeConnectionMark];
    case "direction":
      return [
        loadConnection(NFT_CT_DIRECTION),
        compare(NFT_CMP_EQ, Uint8Array.of(connectionDirections[statement.of])),
      ];
    case "notTranslated":
      return [loadConnection(NFT_CT_STATUS), ...isMark({ mark: 0, mask: translations[statement.of] })];
    case "translated":
      return [
        loadConnection(NFT_CT_STATUS),
        bitwise(u32Bytes(translations.destination), u32Bytes(0)),
        compare(NFT_CMP_NEQ, u32Bytes(0)),
      ];
    case "tcpSyn":
      return [
        ...isProtocol("tcp"),
        loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, tcpFlagsOffset, 1),
        bitwise(Uint8Array.of(tcpSynFlag), Uint8Array.of(0)),
        compare(NFT_CMP_NEQ, Uint8Array.of(0)),
      ];
    case "clampMss":
      return clampMss;
    case "reject":
      return [rejectUnreachable];
    case "verdict":
      return [decide({ NFTA_VERDICT_CODE: statement.verdict === "accept" ? NF_ACCEPT : NF_DROP })];
    case "goto":
      return [decide({ NFTA_VERDICT_CODE: NFT_GOTO, NFTA_VERDICT_CHAIN: statement.chain })];
    case "unknown":
      throw new Error(`An nftables expression "${statement.expression}" can only be read.`);
  }
}

function loadAddress(family: Family, field: "saddr" | "daddr", known: Family | undefined): Expression[] {
  const { bytes, [field]: offset } = addressAt[family];
  return [...isFamily(family, known), loadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset, bytes)];
}

function isFamily(family: Family, known: Family | undefined): Expression[] {
  if (family === known) return [];
  return [loadMeta(NFT_META_NFPROTO), compare(NFT_CMP_EQ, Uint8Array.of(addressAt[family].family))];
}

function isMark({ mark, mask }: Mark): Expression[] {
  return [bitwise(u32Bytes(mask), u32Bytes(0)), compare(NFT_CMP_EQ, u32Bytes(mark))];
}

function putMark({ mark, mask }: Mark): Expression {
  return bitwise(u32Bytes(~mask >>> 0), u32Bytes(mark));
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

/** The reverse; a name that is missing is empty. */
export function nameFrom(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes ?? new Uint8Array()).replace(/\0+$/, "");
}

/** In host order, as marks and indexes are compared. */
function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}
