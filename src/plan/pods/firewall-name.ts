// The name of the nftables table of pods, apart from what is in it: a plugin process mostly
// needs no more.
import type { NftTableName } from "../../net/nftables.ts";

export const podFirewallName = { family: "inet", name: "wg-cni-pods" } as const satisfies NftTableName;
