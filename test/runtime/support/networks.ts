// The networks that these tests give to runtimes: as kindnet and GKE write theirs
// with our entry behind it, and ours alone. Both of one node of the lab.

import type { Node } from "../../lab/node.ts";
import type { ConfList, PluginConf } from "../../lab/runtime.ts";
import { confDir, type Enclosure } from "./enclosure.ts";

export const networkFile = `${confDir}/10-pods.conflist`;
/** Where host-local has its leases, as kindnet tells it. */
const leaseFolder = "/run/cni-ipam-state";
export const ours: PluginConf = { type: "wg-cni" };

type Ranges = readonly (readonly Readonly<Record<string, string>>[])[];

/** As host-local's: the node's pod CIDRs, or of each that one address only. */
export function rangesOf(node: Node, onlyAddress?: number): Ranges {
  return node.podCidrs.map((subnet) => {
    const only = subnet.replace(/[^.:]*\/\d+$/, `${onlyAddress}`);
    return [onlyAddress === undefined ? { subnet } : { subnet, rangeStart: only, rangeEnd: only }];
  });
}

/** `behind` are the plugins that are chained to it. */
export function kindnet(ranges: Ranges, behind: readonly PluginConf[] = [ours]): ConfList {
  const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }];
  return {
    cniVersion: "0.3.1",
    name: "kindnet",
    plugins: [
      {
        type: "ptp",
        ipMasq: false,
        ipam: { type: "host-local", dataDir: leaseFolder, routes, ranges },
        mtu: 1500,
      },
      { type: "portmap", capabilities: { portMappings: true } },
      ...behind,
    ],
  };
}

/** wg-cni is the main plugin. */
export function standalone(
  ipam: Readonly<Record<string, unknown>> = {},
  behind: readonly PluginConf[] = [],
): ConfList {
  return { cniVersion: "1.0.0", name: "wg-cni", plugins: [{ ...ours, ipam }, ...behind] };
}

/** The addresses that host-local holds for kindnet's pods. */
export function leases(node: Node): string[] {
  const { stdout } = node.exec(["ls", `${leaseFolder}/kindnet`]);
  return stdout.split("\n").filter((name) => /^[\da-f.:]+$/i.test(name) && /[.:]/.test(name));
}

export function writeNetwork(enclosure: Enclosure, list: ConfList): void {
  enclosure.write(networkFile, JSON.stringify(list, null, 2));
}
