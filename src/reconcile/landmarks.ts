// Finds addresses in the kernel and in /etc that are no pod's, by the rules of plan/peers/landmarks.ts.
import { findText } from "../linux/file.ts";
import { SysError } from "../linux/syscall.ts";
import { type Family, isIp, parseIp } from "../net/ip.ts";
import type { NodeRecord } from "../net/record.ts";
import { readGateways } from "../netlink/gateways.ts";
import { findUplinks } from "../netlink/uplinks.ts";
import { type JudgedCIDRs, judgeClusterCIDRs } from "../plan/peers/cluster-cidrs.ts";
import { hostLandmarks, knownLandmarks, type Landmark } from "../plan/peers/landmarks.ts";
import type { Ownership } from "../plan/peers/model.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Kernel } from "./kernel.ts";
import { tablesOf } from "./local-pods.ts";

const families: readonly Family[] = [4, 6];

/** Throws NetlinkError, SysError. */
export function observeLandmarks(settings: Settings, { host }: Kernel): Landmark[] {
  return hostLandmarks({
    links: host.links(),
    addresses: host.addresses(),
    gateways: families.flatMap((family) =>
      tablesOf(settings, host.rules(family)).flatMap((table) => readGateways(host, family, table)),
    ),
    uplinks: findUplinks(host),
    ownDevices: slots.map((slot) => slotDevice(settings, slot)),
    resolvers: readResolvers(),
  });
}

/** The results for the ownership of one generation: to go through the addresses of thousands of peers takes as long as to plan them. */
const judged = new WeakMap<Ownership, JudgedCIDRs>();

/** Judges this node's cluster CIDRs, which must hold no host. `landmarks`: those around this node. */
export function judgeOwnCIDRs(
  { clusterCIDRs, controlPlane }: Settings,
  node: NodeRecord,
  ownership: Ownership,
  landmarks: readonly Landmark[],
): JudgedCIDRs {
  if (clusterCIDRs.length === 0) return noCIDRs;
  const before = judged.get(ownership);
  if (before !== undefined) return before;
  // A peer's endpoint is only its own statement, which must not open what strict mode refuses.
  const peers = ownership.peers.map(({ name, nodeIPs }) => ({ name, nodeIPs, endpoints: [] }));
  const known = knownLandmarks({ node, peers, settings: { controlPlane } });
  const cidrs = judgeClusterCIDRs(clusterCIDRs, [...known, ...landmarks]);
  judged.set(ownership, cidrs);
  return cidrs;
}

const noCIDRs: JudgedCIDRs = { kept: [], refusals: [] };

/** The host's resolvers, and those that a stub of systemd-resolved asks. */
const resolverFiles = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/** A file that cannot be read names none. */
function readResolvers(): string[] {
  const lines = resolverFiles.flatMap((path) => (readIfAllowed(path) ?? "").split("\n"));
  const servers = lines.flatMap((line) => /^\s*nameserver\s+([0-9a-fA-F:.]+)/.exec(line)?.[1] ?? []);
  return [...new Set(servers.filter(isIp).map(parseIp))];
}

function readIfAllowed(path: string): string | undefined {
  try {
    return findText(path);
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}
