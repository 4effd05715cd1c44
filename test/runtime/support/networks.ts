// The networks that these tests give to runtimes: as kindnet and GKE write theirs
// with our entry behind it, and the samples of conf/.

import { isIP } from "node:net";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import { type ConfList, type PluginConf, readConfList } from "../../lab/runtime.ts";
import { confDir, type Enclosure } from "./enclosure.ts";

export const networkFile = `${confDir}/10-pods.conflist`;
/** The directories of host-local's leases: the one that kindnet configures, and the default. */
const leaseDirectories = ["/run/cni-ipam-state", "/var/lib/cni/networks"] as const;
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
        ipam: { type: "host-local", dataDir: leaseDirectories[0], routes, ranges },
        mtu: 1500,
      },
      { type: "portmap", capabilities: { portMappings: true } },
      ...behind,
    ],
  };
}

/** One of conf/, as it is there. */
export function sample(name: string): ConfList {
  return readConfList(`${repository}/conf/${name}.conflist`);
}

/** wg-cni is the main plugin: the sample of it, with keys of `ipam` and plugins behind it if they are given. */
export function standalone(
  ipam: Readonly<Record<string, unknown>> = {},
  behind: readonly PluginConf[] = [],
): ConfList {
  const list = sample("10-wg-cni");
  return { ...list, plugins: [...list.plugins.map((plugin) => ({ ...plugin, ipam })), ...behind] };
}

/** The addresses that host-local holds, for whatever network. */
export function leases(node: Node): string[] {
  const { stdout } = node.exec(["find", ...leaseDirectories, "-type", "f", "-printf", "%f\n"]);
  return stdout.split("\n").filter((name) => isIP(name) !== 0);
}

export function writeNetwork(enclosure: Enclosure, list: ConfList): void {
  enclosure.write(networkFile, JSON.stringify(list, null, 2));
}
