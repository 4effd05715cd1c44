// The nftables table of the pods that we are the main plugin of: a packet from a link of ours has the address
// of the pod at its other end, or is dropped and counted. This holds for both families, on the way to other
// pods, to the node and into the tunnel, and unlike the reverse-path filter no setting of "all" can switch it
// off. The table checks the route back, so it has no parts of single pods and is made once. Pure.
//
//   router advertisements, redirects         dropped, also while a link's settings are not ours:
//                                            it loses them when IPv6 starts again on it
//   from fe80::/10 to fe80::/10, ff02::/16   passes: never forwarded, of no use beyond the link
//   the route back is by the same link       passes: an address of this pod
//   anything else                            dropped
import type { NftCounter, NftTable } from "../../net/nftables.ts";
import { accept, drop, goto, inSet } from "../firewall/rules.ts";
import { podFirewallName } from "./firewall-name.ts";
import { podLinkGroup } from "./link.ts";

/** This priority comes before the chains that count other nodes' packets, so that a forged one is not counted there. */
const priority = -310;
const podChain = "pods";
const linkLocal = { name: "link_local6", family: 6, interval: true, counter: false } as const;
const linkScope = { name: "link_scope6", family: 6, interval: true, counter: false } as const;
/** These sets contain every address, so that they count all packets that reach them. */
const forged4 = { name: "forged4", family: 4, interval: true, counter: true } as const;
const forged6 = { name: "forged6", family: 6, interval: true, counter: true } as const;

export const podFirewall: NftTable = {
  ...podFirewallName,
  foreign: [],
  sets: [
    { ...linkLocal, elements: new Set(["fe80::/10"]) },
    { ...linkScope, elements: new Set(["fe80::/10", "ff02::/16"]) },
    { ...forged4, elements: new Set(["0.0.0.0/0"]) },
    { ...forged6, elements: new Set(["::/0"]) },
  ],
  chains: [
    {
      name: podChain,
      rules: [
        [{ kind: "icmp", family: 6, type: "nd-router-advert" }, drop],
        [{ kind: "icmp", family: 6, type: "nd-redirect" }, drop],
        [inSet(6, "saddr", linkLocal.name), inSet(6, "daddr", linkScope.name), accept],
        [{ kind: "routedBack" }, accept],
        [inSet(4, "saddr", forged4.name), drop],
        [inSet(6, "saddr", forged6.name), drop],
      ],
    },
    {
      name: "prerouting",
      base: { type: "filter", hook: "prerouting", priority, policy: "accept" },
      rules: [[{ kind: "fromGroup", group: podLinkGroup }, goto(podChain)]],
    },
  ],
};

/** Returns the number of packets that pods sent from foreign addresses, by family, since the table was created. */
export function countForged(counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>) {
  const sum = (set: string) =>
    [...(counters.get(set)?.values() ?? [])].reduce((total, { packets }) => total + packets, 0);
  return { ipv4: sum(forged4.name), ipv6: sum(forged6.name) };
}
