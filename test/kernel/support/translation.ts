// Other people's address translation on a lab node, by nft: masquerade of what pods
// send out of their network, and node ports as kube-proxy makes them.
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";

export const backendPort = 8080;
/** The target of each service; "local" keeps the client's address, as externalTrafficPolicy Local does. */
export const nodePorts = {
  "remote pod": 30080,
  "remote host": 30081,
  "own pod": 30082,
  "own pod, local": 30083,
};

/** kube-proxy's own. */
const masqueradeMark = "0x4000";
const networks = { 4: "10.244.0.0/16", 6: "fd00:10:244::/48" } as const;

export interface Backends {
  readonly pod: Pod;
  readonly remote: { readonly node: Node; readonly pod: Pod };
}

export function translate(node: Node, { pod, remote }: Backends): void {
  for (const family of [4, 6] as const) {
    const ip = family === 4 ? "ip" : "ip6";
    const to = (address: string | undefined) =>
      `dnat to ${family === 4 ? `${address}:${backendPort}` : `[${address}]:${backendPort}`}`;
    const port = (number: number, address: string | undefined, masquerade = true) =>
      `add rule ${ip} proxy ports ${ip} daddr ${node.ip(family)} tcp dport ${number} ${masquerade ? `meta mark set meta mark or ${masqueradeMark} ` : ""}${to(address)}`;
    const rules = [
      `add table ${ip} proxy`,
      `add chain ${ip} proxy ports`,
      `add chain ${ip} proxy prerouting { type nat hook prerouting priority dstnat; }`,
      `add chain ${ip} proxy output { type nat hook output priority -100; }`,
      `add chain ${ip} proxy postrouting { type nat hook postrouting priority srcnat; }`,
      `add rule ${ip} proxy prerouting jump ports`,
      `add rule ${ip} proxy output jump ports`,
      port(nodePorts["remote pod"], remote.pod.ip(family)),
      port(nodePorts["remote host"], remote.node.ip(family)),
      port(nodePorts["own pod"], pod.ip(family)),
      port(nodePorts["own pod, local"], pod.ip(family), false),
      `add rule ${ip} proxy postrouting meta mark and ${masqueradeMark} == ${masqueradeMark} masquerade`,
      `add rule ${ip} proxy postrouting ${ip} saddr ${networks[family]} ${ip} daddr != ${networks[family]} masquerade`,
    ];
    node.must(["nft", "-f", "-"], { stdin: `${rules.join("\n")}\n` });
  }
}
