// Statements about what a packet carries: ports, TCP's options, ICMP and WireGuard messages.
import type { Family } from "../../net/ip.ts";
import type { IcmpType } from "../../net/nftables.ts";
import { readU16BigEndian } from "../../wire/codec.ts";
import {
  type Expression,
  NFT_CMP_EQ,
  NFT_CMP_NEQ,
  NFT_META_L4PROTO,
  NFT_PAYLOAD_TRANSPORT_HEADER,
} from "../../wire/nftables-expressions.ts";
import { bitwise, clampMss, compare, loadMeta, loadPayload } from "./expressions.ts";
import { type Codecs, comparedWith, dataOf, keyOf, metaKey, u32Bytes } from "./statement-codec.ts";
import { isFamily, matchFamily } from "./statements-address.ts";

const ipprotocols = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;
/** The offsets of ports in the headers of TCP and UDP. */
const portAt = { sport: 0, dport: 2 } as const;
const portBytes = 2;
const udpHeaderBytes = 8;
/** The bits of a message's first four bytes that no WireGuard message has set (the protocol's section 5.4). */
const wireguardTypeMask = Uint8Array.of(0xf8, 0xff, 0xff, 0xff);
const tcpFlagsOffset = 13;
const tcpSynFlag = 2;

/** The numbers of RFC 792, RFC 4443 and RFC 4861. */
const icmpTypes: Readonly<Record<Family, Readonly<Partial<Record<IcmpType, number>>>>> = {
  4: { "destination-unreachable": 3, "time-exceeded": 11, "parameter-problem": 12 },
  6: {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "nd-router-advert": 134,
    "nd-redirect": 137,
  },
};

export const transportStatements: Codecs<"port" | "wireguardMessage" | "icmp" | "tcpSyn" | "clampMss"> = {
  port: {
    encode: ({ protocol, field, port }) => [
      ...isProtocol(protocol),
      loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, portAt[field], portBytes),
      compare(NFT_CMP_EQ, Uint8Array.of(port >>> 8, port)),
    ],
    match: (expressions) => {
      const protocol = matchProtocol(expressions);
      const field = keyOf(portAt, dataOf(expressions[2], "payload")?.NFTA_PAYLOAD_OFFSET ?? 0);
      const port = comparedWith(expressions[3]);
      if ((protocol !== "tcp" && protocol !== "udp") || field === undefined) return undefined;
      if (port?.length !== portBytes) return undefined;
      return { kind: "port", protocol, field, port: readU16BigEndian(port, 0) };
    },
  },
  wireguardMessage: {
    encode: () => [
      loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, udpHeaderBytes, wireguardTypeMask.length),
      bitwise(wireguardTypeMask, u32Bytes(0)),
      compare(NFT_CMP_EQ, u32Bytes(0)),
    ],
    match: ([payload]) => (payload?.name === "payload" ? { kind: "wireguardMessage" } : undefined),
  },
  icmp: {
    encode: ({ family, type }, known) => [
      ...isFamily(family, known),
      ...isProtocol(family === 4 ? "icmp" : "icmpv6"),
      loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1),
      compare(NFT_CMP_EQ, Uint8Array.of(icmpTypes[family][type] ?? 0)),
    ],
    match: (expressions, known) => {
      const { rest } = matchFamily(expressions, known);
      const protocol = matchProtocol(rest);
      if (protocol !== "icmp" && protocol !== "icmpv6") return undefined;
      const family = protocol === "icmp" ? 4 : 6;
      const type = keyOf(icmpTypes[family], comparedWith(rest[3])?.[0]);
      return type === undefined ? undefined : { kind: "icmp", family, type };
    },
  },
  tcpSyn: {
    encode: () => [
      ...isProtocol("tcp"),
      loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, tcpFlagsOffset, 1),
      bitwise(Uint8Array.of(tcpSynFlag), Uint8Array.of(0)),
      compare(NFT_CMP_NEQ, Uint8Array.of(0)),
    ],
    match: (expressions) => (matchProtocol(expressions) === "tcp" ? { kind: "tcpSyn" } : undefined),
  },
  clampMss: {
    encode: () => clampMss,
    match: ([first]) => (first?.name === "rt" ? { kind: "clampMss" } : undefined),
  },
};

function isProtocol(protocol: keyof typeof ipprotocols): Expression[] {
  return [loadMeta(NFT_META_L4PROTO), compare(NFT_CMP_EQ, Uint8Array.of(ipprotocols[protocol]))];
}

function matchProtocol([meta, compared]: readonly Expression[]): keyof typeof ipprotocols | undefined {
  return metaKey(meta) === NFT_META_L4PROTO ? keyOf(ipprotocols, comparedWith(compared)?.[0]) : undefined;
}
