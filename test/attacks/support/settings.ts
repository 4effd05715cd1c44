// Sets the nodes to what was drawn, and returns when it is so.
import { setReversePath } from "../../kernel/support/hosts.ts";
import { tables, wgMust } from "../../kernel/support/mesh-reference.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { Settings } from "./draw.ts";

/** Where the kernel says that it tracks connections. */
const trackingSysctls = "/proc/sys/net/netfilter";

/** `peers`: of each node, all others. */
export async function applySettings(
  nodes: readonly Node[],
  peers: (node: Node) => readonly Node[],
  settings: Settings,
): Promise<void> {
  for (const node of nodes) {
    setTracking(node, settings.tracking);
    setReversePath(node, settings.rpFilter);
  }
  await Promise.all(nodes.map((node) => wgMust(node, ["up", "--mode", settings.mode])));
  await setHostEncryption(nodes, peers, settings.hostEncryption === "on");
  // At last: the devices have them too.
  for (const node of nodes) setRoutes(node, settings);
}

/** Resolves when each node has the addresses of its peers behind the tunnel, or none of them. */
export async function setHostEncryption(
  nodes: readonly Node[],
  peers: (node: Node) => readonly Node[],
  on: boolean,
): Promise<void> {
  await Promise.all(nodes.map((node) => wgMust(node, ["up", "--host-encryption", on ? "on" : "off"])));
  const isSo = (node: Node) =>
    ([4, 6] as const).every((family) => {
      const routes = node.must(["ip", `-${family}`, "route", "show", "table", `${tables.pods}`]);
      return peers(node).every((peer) => routes.includes(`${peer.ip(family)} dev wg-cni-`) === on);
    });
  await waitUntil(() => nodes.every(isSo), { what: `host encryption is ${on ? "on" : "off"} everywhere` });
}

function setTracking(node: Node, tracking: Settings["tracking"]): void {
  node.script([
    `while mountpoint -q ${trackingSysctls}; do umount ${trackingSysctls}; done`,
    ...(tracking === "none" ? [`mount -t tmpfs -o ro none ${trackingSysctls}`] : []),
    "nft delete table inet untracked 2>/dev/null || true",
    ...(tracking === "notrack"
      ? [
          "nft add table inet untracked",
          ...["prerouting", "output"].flatMap((hook) => [
            `nft 'add chain inet untracked ${hook} { type filter hook ${hook} priority -301; }'`,
            `nft add rule inet untracked ${hook} notrack`,
          ]),
        ]
      : []),
  ]);
}

function setRoutes(node: Node, { sourceRoutes, routeLocalnet }: Settings): void {
  const [taken, local] = [Number(sourceRoutes), Number(routeLocalnet)];
  node.script([
    "cd /proc/sys/net",
    `for f in ipv4/conf/*/accept_source_route ipv6/conf/*/accept_source_route ipv6/conf/*/*seg*_enabled; do echo ${taken} >$f; done`,
    `for f in ipv4/conf/*/route_localnet; do echo ${local} >$f; done`,
  ]);
}
