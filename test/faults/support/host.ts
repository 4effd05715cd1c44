// What a host has that wg-cni could leave or damage, in sorted lines: links, addresses, routes, rules, neighbours,
// nftables, sysctls, files of the runtime and names in the state directory.

import { rows, snapshot } from "../../kernel/support/reference.ts";
import type { Node } from "../../lab/node.ts";

/** SQLite makes and removes its files, and the log of calls is there once a call has failed. */
const passing = ["state.db-*", "plugin.log*"].map((name) => `! -name '${name}'`).join(" ");

/** Throws if the store is damaged. */
export function readHost(node: Node): string[] {
  const network = [node, ...node.pods].flatMap((space) =>
    snapshot(space).map((line) => `${space.label}: ${withoutIndex(line)}`),
  );
  const { attachments, leases } = rows(node);
  const store = [...attachments, ...leases].map((row) => `store: ${JSON.stringify(row)}`);
  return [...network, ...store, ...linesOf(node)].sort();
}

function linesOf(node: Node): string[] {
  const text = node.script([
    "nft list ruleset | sed -E 's/packets [0-9]+ bytes [0-9]+//; s/^/nft: /'",
    "wg show all allowed-ips | sed 's/^/wg: /'",
    "sysctl -a 2>/dev/null -r '^net\\.ipv[46]\\.(conf\\.(all|default|lo|eth0|wg.*)\\.|ip_)' | grep -v stable_secret",
    "for d in /etc/cni /opt/cni /var/lib/cni; do [ ! -d $d ] || find $d -type f -exec md5sum {} +; done",
    `find ${node.stateDir} /run/wg-cni /run/netns ${passing} -printf 'file: %p %y %m\\n' 2>/dev/null || true`,
  ]);
  return text.split("\n").filter((line) => line.trim() !== "");
}

/** A device that is made again has another number. */
function withoutIndex(line: string): string {
  return line.replace(/^\d+: /, "").replace(/\bnexthop id \d+/, "");
}
