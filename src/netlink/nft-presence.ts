// Whether a table of nftables is there, with as little code as that takes: the question
// of every plugin process (nft.ts has all the rest).
import { SysError } from "../linux/syscall.ts";
import { NFPROTO_INET, NFT_MSG_GETTABLE, tableMessage } from "../wire/nftables-table.ts";
import { NetlinkError } from "./error.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./socket.ts";

/** What a kernel without netfilter's netlink, or without nftables in it, answers. */
const unsupported: readonly string[] = ["EPROTONOSUPPORT", "EOPNOTSUPP", "EINVAL"];

export function isNftUnsupported(error: unknown): boolean {
  return (error instanceof SysError || error instanceof NetlinkError) && unsupported.includes(error.code);
}

/** Of the inet family, in this thread's network namespace; undefined if the kernel has no nftables. Throws NetlinkError, SysError. */
export function hasNftTable(name: string): boolean | undefined {
  try {
    using socket = NetlinkSocket.open(NETLINK_NETFILTER);
    const describe = () => `look for table inet ${name}`;
    return socket.get(
      {
        ...{ type: NFT_MSG_GETTABLE, flags: 0, describe },
        write: (to) => tableMessage.write(to, { nfgen_family: NFPROTO_INET, NFTA_TABLE_NAME: name }),
      },
      () => {},
    );
  } catch (error) {
    if (isNftUnsupported(error)) return undefined;
    throw error;
  }
}
