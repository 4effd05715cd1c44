// The pods' network of the small cluster, as kindnet has it: ptp, addresses by
// host-local of the node's CIDR, ports by portmap, plain routes between nodes (the
// lab's), and what leaves the pods' network has the node's address.

import { type ProxyMode, podNetwork } from "./config.ts";

export const pluginNames = ["ptp", "host-local", "portmap", "loopback"];

export function networkList(podCidr: string): string {
  const ipam = { type: "host-local", routes: [{ dst: "0.0.0.0/0" }], ranges: [[{ subnet: podCidr }]] };
  const list = {
    ...{ cniVersion: "1.0.0", name: "kindnet" },
    plugins: [
      { type: "ptp", ipMasq: false, mtu: 1500, ipam },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** The rules of its masquerade, by the same program that the proxy of the mode uses. */
export function networkRules(mode: ProxyMode): string[] {
  if (mode === "nftables")
    return [
      "nft add table ip kindnet",
      "nft 'add chain ip kindnet postrouting { type nat hook postrouting priority srcnat - 10; }'",
      `nft add rule ip kindnet postrouting ip daddr ${podNetwork} return`,
      "nft add rule ip kindnet postrouting fib daddr type local return",
      "nft add rule ip kindnet postrouting masquerade",
    ];
  const chain = "KIND-MASQ-AGENT";
  return [
    `iptables -t nat -N ${chain}`,
    `iptables -t nat -A POSTROUTING -m addrtype ! --dst-type LOCAL -j ${chain}`,
    `iptables -t nat -A ${chain} -d ${podNetwork} -j RETURN`,
    `iptables -t nat -A ${chain} -j MASQUERADE`,
  ];
}
