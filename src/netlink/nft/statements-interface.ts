// Statements about the interface that a packet came by or leaves by.
import { readU32 } from "../../wire/codec.ts";
import {
  NFT_CMP_EQ,
  NFT_META_IIF,
  NFT_META_IIFGROUP,
  NFT_META_IIFNAME,
  NFT_META_OIF,
  NFT_META_OIFNAME,
} from "../../wire/nftables-expressions.ts";
import { compare, loadMeta, update } from "./expressions.ts";
import {
  type Codecs,
  comparedWith,
  dataOf,
  keyOf,
  metaKey,
  nameBytes,
  nameFrom,
  u32Bytes,
} from "./statement-codec.ts";

const loopbackIndex = 1;
const indexKeys = { iif: NFT_META_IIF, oif: NFT_META_OIF } as const;
const nameKeys = { iif: NFT_META_IIFNAME, oif: NFT_META_OIFNAME } as const;

export const interfaceStatements: Codecs<"loopback" | "interface" | "fromGroup" | "countInterface"> = {
  loopback: {
    encode: ({ direction }) => [loadMeta(indexKeys[direction]), compare(NFT_CMP_EQ, u32Bytes(loopbackIndex))],
    match: ([meta]) => {
      const direction = keyOf(indexKeys, metaKey(meta));
      return direction === undefined ? undefined : { kind: "loopback", direction };
    },
  },
  interface: {
    encode: ({ direction, name }) => [loadMeta(nameKeys[direction]), compare(NFT_CMP_EQ, nameBytes(name))],
    match: ([meta, compared]) => {
      const direction = keyOf(nameKeys, metaKey(meta));
      const name = comparedWith(compared);
      if (direction === undefined || name === undefined) return undefined;
      return { kind: "interface", direction, name: nameFrom(name) };
    },
  },
  fromGroup: {
    encode: ({ group }) => [loadMeta(NFT_META_IIFGROUP), compare(NFT_CMP_EQ, u32Bytes(group))],
    match: ([meta, compared]) => {
      const group = comparedWith(compared);
      if (metaKey(meta) !== NFT_META_IIFGROUP || group?.length !== 4) return undefined;
      return { kind: "fromGroup", group: readU32(group, 0) };
    },
  },
  countInterface: {
    encode: ({ set }) => [loadMeta(NFT_META_IIFNAME), update(set)],
    match: ([meta, dynset]) => {
      const set = dataOf(dynset, "dynset")?.NFTA_DYNSET_SET_NAME;
      if (metaKey(meta) !== NFT_META_IIFNAME || set === undefined) return undefined;
      return { kind: "countInterface", set };
    },
  },
};
