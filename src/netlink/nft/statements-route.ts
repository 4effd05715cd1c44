// Statements that look up the routes of a packet's addresses.
import type { NftRouteType } from "../../net/nftables.ts";
import { readU32 } from "../../wire/codec.ts";
import {
  type Expression,
  NFT_CMP_EQ,
  NFT_CMP_NEQ,
  NFT_FIB_RESULT_ADDRTYPE,
  NFT_FIB_RESULT_OIF,
  NFT_FIB_RESULT_OIFNAME,
  NFTA_FIB_F_DADDR,
  NFTA_FIB_F_IIF,
  NFTA_FIB_F_MARK,
  NFTA_FIB_F_PRESENT,
  NFTA_FIB_F_SADDR,
} from "../../wire/nftables-expressions.ts";
import { compare, lookUpRoute } from "./expressions.ts";
import {
  type Codecs,
  comparedWith,
  dataOf,
  keyOf,
  nameBytes,
  nameFrom,
  u32Bytes,
} from "./statement-codec.ts";

/** The numbers of route types (RTN_*, linux/rtnetlink.h). */
const RTN_LOCAL = 2;
const routeTypes: Readonly<Record<NftRouteType, number>> = {
  ...{ unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8 },
};
const routedByFlags = NFTA_FIB_F_DADDR | NFTA_FIB_F_MARK;

type RouteKind = "local" | "routeType" | "routedBack" | "routedBackBy" | "routedBy" | "routed";

export const routeStatements: Codecs<RouteKind> = {
  local: {
    encode: ({ field, not }) => {
      const flags = field === "saddr" ? NFTA_FIB_F_SADDR : NFTA_FIB_F_DADDR;
      const operator = not ? NFT_CMP_NEQ : NFT_CMP_EQ;
      return [lookUpRoute(flags, NFT_FIB_RESULT_ADDRTYPE), compare(operator, u32Bytes(RTN_LOCAL))];
    },
    match: (expressions) => {
      const { flags } = matchRoute(expressions, NFT_FIB_RESULT_ADDRTYPE) ?? {};
      if (flags === undefined) return undefined;
      const field = (flags & NFTA_FIB_F_SADDR) !== 0 ? "saddr" : "daddr";
      const isNot = dataOf(expressions[1], "cmp")?.NFTA_CMP_OP === NFT_CMP_NEQ;
      return { kind: "local", field, ...(isNot ? { not: true } : {}) };
    },
  },
  routeType: {
    encode: ({ type }) => [
      lookUpRoute(NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE),
      compare(NFT_CMP_EQ, u32Bytes(routeTypes[type])),
    ],
    match: (expressions) => {
      const type = keyOf(routeTypes, matchRoute(expressions, NFT_FIB_RESULT_ADDRTYPE)?.number);
      return type === undefined ? undefined : { kind: "routeType", type };
    },
  },
  routedBack: {
    encode: ({ marked, not }) => {
      const flags = NFTA_FIB_F_SADDR | (marked ? NFTA_FIB_F_MARK : 0) | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT;
      return [lookUpRoute(flags, NFT_FIB_RESULT_OIF), compare(NFT_CMP_EQ, u32Bytes(not ? 0 : 1))];
    },
    match: (expressions) => {
      const found = matchRoute(expressions, NFT_FIB_RESULT_OIF);
      if (found === undefined) return undefined;
      const marked = (found.flags & NFTA_FIB_F_MARK) !== 0 ? { marked: true as const } : {};
      return { kind: "routedBack", ...marked, ...(found.number === 0 ? { not: true as const } : {}) };
    },
  },
  routedBackBy: {
    encode: ({ device }) => [
      lookUpRoute(NFTA_FIB_F_SADDR, NFT_FIB_RESULT_OIFNAME),
      compare(NFT_CMP_EQ, nameBytes(device)),
    ],
    match: (expressions) => {
      const device = matchRoute(expressions, NFT_FIB_RESULT_OIFNAME)?.name;
      return device === undefined ? undefined : { kind: "routedBackBy", device };
    },
  },
  routedBy: {
    encode: ({ device }) => [
      lookUpRoute(routedByFlags, NFT_FIB_RESULT_OIFNAME),
      compare(NFT_CMP_EQ, nameBytes(device)),
    ],
    match: (expressions) => {
      const device = matchRoute(expressions, NFT_FIB_RESULT_OIFNAME)?.name;
      return device === undefined ? undefined : { kind: "routedBy", device };
    },
  },
  routed: {
    encode: () => [
      lookUpRoute(routedByFlags | NFTA_FIB_F_PRESENT, NFT_FIB_RESULT_OIF),
      compare(NFT_CMP_EQ, u32Bytes(1)),
    ],
    match: (expressions) =>
      matchRoute(expressions, NFT_FIB_RESULT_OIF) === undefined ? undefined : { kind: "routed" },
  },
};

/** A look-up of `result`: its flags, and the value that the result is compared with. */
function matchRoute(
  [fib, compared]: readonly Expression[],
  result: number,
): { readonly flags: number; readonly number: number | undefined; readonly name: string } | undefined {
  const data = dataOf(fib, "fib");
  if (data?.NFTA_FIB_RESULT !== result) return undefined;
  const value = comparedWith(compared);
  const number = value?.length === 4 ? readU32(value, 0) : undefined;
  return { flags: data.NFTA_FIB_FLAGS ?? 0, number, name: nameFrom(value) };
}
