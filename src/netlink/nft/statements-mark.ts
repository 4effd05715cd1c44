// Statements about the marks of packets and connections, and about a connection's state.
import type { Mark } from "../../net/objects.ts";
import { readU32 } from "../../wire/codec.ts";
import {
  type Expression,
  NFT_CMP_EQ,
  NFT_CMP_NEQ,
  NFT_CT_DIRECTION,
  NFT_CT_MARK,
  NFT_CT_SRC_IP,
  NFT_CT_SRC_IP6,
  NFT_CT_STATUS,
  NFT_META_MARK,
} from "../../wire/nftables-expressions.ts";
import {
  bitwise,
  compare,
  loadConnection,
  loadMeta,
  lookup,
  storeConnectionMark,
  storeMark,
} from "./expressions.ts";
import { type Codecs, comparedWith, dataOf, keyOf, metaKey, u32Bytes } from "./statement-codec.ts";

/** Status bits of a connection (IPS_SRC_NAT, IPS_DST_NAT, IP_CT_DIR_*; linux/netfilter/nf_conntrack_common.h). */
const translations = { destination: 0x20, either: 0x30 } as const;
const sourceKeys = { 4: NFT_CT_SRC_IP, 6: NFT_CT_SRC_IP6 } as const;
const connectionDirections = { original: 0, reply: 1 } as const;

export const markStatements: Codecs<"hasMark" | "setMark" | "hasConnectionMark" | "setConnectionMark"> = {
  hasMark: {
    encode: ({ mark }) => [loadMeta(NFT_META_MARK), ...isMark(mark)],
    match: (expressions) => {
      const mark = metaKey(expressions[0]) === NFT_META_MARK ? matchMark(expressions) : undefined;
      return mark === undefined ? undefined : { kind: "hasMark", mark };
    },
  },
  setMark: {
    encode: ({ mark }) => [loadMeta(NFT_META_MARK), putMark(mark), storeMark],
    match: (expressions) => {
      const mark = metaKey(expressions[0]) === NFT_META_MARK ? matchPutMark(expressions) : undefined;
      return mark === undefined ? undefined : { kind: "setMark", mark };
    },
  },
  hasConnectionMark: {
    encode: ({ mark }) => [loadConnection(NFT_CT_MARK), ...isMark(mark)],
    match: (expressions) => {
      const mark = connectionKey(expressions) === NFT_CT_MARK ? matchMark(expressions) : undefined;
      return mark === undefined ? undefined : { kind: "hasConnectionMark", mark };
    },
  },
  setConnectionMark: {
    encode: ({ mark }) => [loadConnection(NFT_CT_MARK), putMark(mark), storeConnectionMark],
    match: (expressions) => {
      const mark = connectionKey(expressions) === NFT_CT_MARK ? matchPutMark(expressions) : undefined;
      return mark === undefined ? undefined : { kind: "setConnectionMark", mark };
    },
  },
};

export const connectionStatements: Codecs<"direction" | "connectionSource" | "translated"> = {
  direction: {
    encode: ({ of }) => [
      loadConnection(NFT_CT_DIRECTION),
      compare(NFT_CMP_EQ, Uint8Array.of(connectionDirections[of])),
    ],
    match: (expressions) => {
      if (connectionKey(expressions) !== NFT_CT_DIRECTION) return undefined;
      const of = keyOf(connectionDirections, comparedWith(expressions[1])?.[0]);
      return of === undefined ? undefined : { kind: "direction", of };
    },
  },
  connectionSource: {
    // Its key alone asks for the family.
    encode: ({ of, family, set }) => [
      loadConnection(sourceKeys[family], connectionDirections[of]),
      lookup(set),
    ],
    match: ([connection, sought]) => {
      const ct = dataOf(connection, "ct");
      const of = keyOf(connectionDirections, ct?.NFTA_CT_DIRECTION);
      const set = dataOf(sought, "lookup")?.NFTA_LOOKUP_SET;
      if (of === undefined || set === undefined) return undefined;
      return { kind: "connectionSource", of, family: ct?.NFTA_CT_KEY === NFT_CT_SRC_IP ? 4 : 6, set };
    },
  },
  translated: {
    encode: ({ of }) => [
      loadConnection(NFT_CT_STATUS),
      bitwise(u32Bytes(translations[of]), u32Bytes(0)),
      compare(NFT_CMP_NEQ, u32Bytes(0)),
    ],
    match: (expressions) => {
      if (connectionKey(expressions) !== NFT_CT_STATUS) return undefined;
      const of = keyOf(translations, matchMark(expressions)?.mask);
      return of === undefined ? undefined : { kind: "translated", of };
    },
  },
};

function isMark({ mark, mask }: Mark): Expression[] {
  return [bitwise(u32Bytes(mask), u32Bytes(0)), compare(NFT_CMP_EQ, u32Bytes(mark))];
}

function matchMark([, masked, compared]: readonly Expression[]): Mark | undefined {
  const mask = u32From(dataOf(masked, "bitwise")?.NFTA_BITWISE_MASK?.NFTA_DATA_VALUE);
  const mark = u32From(comparedWith(compared));
  return mask === undefined || mark === undefined ? undefined : { mark, mask };
}

/** Keeps the bits outside the mask, and sets those of the mark. */
function putMark({ mark, mask }: Mark): Expression {
  return bitwise(u32Bytes(~mask >>> 0), u32Bytes(mark));
}

function matchPutMark([, changed]: readonly Expression[]): Mark | undefined {
  const data = dataOf(changed, "bitwise");
  const kept = u32From(data?.NFTA_BITWISE_MASK?.NFTA_DATA_VALUE);
  const mark = u32From(data?.NFTA_BITWISE_XOR?.NFTA_DATA_VALUE);
  // Bits that are kept and inverted are not set.
  if (kept === undefined || mark === undefined || (mark & kept) !== 0) return undefined;
  return { mark, mask: ~kept >>> 0 };
}

function connectionKey([first]: readonly Expression[]): number | undefined {
  return dataOf(first, "ct")?.NFTA_CT_KEY;
}

function u32From(bytes: Uint8Array | undefined): number | undefined {
  return bytes?.length === 4 ? readU32(bytes, 0) : undefined;
}
