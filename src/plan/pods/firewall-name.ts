// The name of the nftables table of pods is apart from its content, because a plugin process usually needs
// only the name.
import type { NftTableName } from "../../net/nftables.ts";

export const podFirewallName = { family: "inet", name: "wg-cni-pods" } as const satisfies NftTableName;
