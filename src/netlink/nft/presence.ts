// Tests if a table of nftables exists, and an address in its sets, with as little code as
// that takes: the questions of plugin processes (table.ts has all the rest).

import { SysError } from "../../linux/syscall.ts";
import { ipBytes } from "../../net/ip.ts";
import {
  elementQuery,
  NFPROTO_INET,
  NFT_MSG_GETSETELEM,
  NFT_MSG_GETTABLE,
  tableMessage,
} from "../../wire/nftables-table.ts";
import type { Writer } from "../../wire/writer.ts";
import { NetlinkError } from "../error.ts";
import { NETLINK_NETFILTER, NetlinkSocket, type Request } from "../socket.ts";

/** The answers of a kernel without netfilter's netlink, or without nftables in it. */
const unsupported: readonly string[] = ["EPROTONOSUPPORT", "EOPNOTSUPP", "EINVAL"];

export function isNftUnsupported(error: unknown): boolean {
  return (error instanceof SysError || error instanceof NetlinkError) && unsupported.includes(error.code);
}

/** Tests for a table of the inet family in this thread's network namespace; undefined if the kernel has no nftables. Throws NetlinkError, SysError. */
export function hasNftTable(name: string): boolean | undefined {
  return ask({
    ...{ type: NFT_MSG_GETTABLE, flags: 0, describe: () => `find table inet ${name}` },
    write: (to) => tableMessage.write(to, { nfgen_family: NFPROTO_INET, NFTA_TABLE_NAME: name }),
  });
}

/** Tests in the same way if one of the sets has an element that is the address, or an interval that holds it. False without the table. */
export function hasNftElement(table: string, sets: readonly string[], ip: string): boolean | undefined {
  return ask(
    ...sets.map((set) => ({
      ...{ type: NFT_MSG_GETSETELEM, flags: 0, describe: () => `find ${ip} in set inet ${table} ${set}` },
      write: (to: Writer) =>
        elementQuery.write(to, {
          ...{ nfgen_family: NFPROTO_INET, NFTA_SET_ELEM_LIST_TABLE: table, NFTA_SET_ELEM_LIST_SET: set },
          NFTA_SET_ELEM_LIST_ELEMENTS: [{ NFTA_SET_ELEM_KEY: { NFTA_DATA_VALUE: ipBytes(ip) } }],
        }),
    })),
  );
}

function ask(...requests: readonly Request[]): boolean | undefined {
  try {
    using socket = NetlinkSocket.open(NETLINK_NETFILTER);
    return socket.getAll(requests, () => {}).includes(true);
  } catch (error) {
    if (isNftUnsupported(error)) return undefined;
    throw error;
  }
}
