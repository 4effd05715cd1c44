// Looks in the kernel for addresses that are no pod's. Which are, plan/landmarks.ts says.
import type { Family } from "../net/ip.ts";
import type { NodeRecord } from "../net/record.ts";
import { findUplinks } from "../netlink/uplinks.ts";
import type { Ownership } from "../plan/claims.ts";
import { type JudgedCIDRs, judgeClusterCIDRs } from "../plan/cluster-cidrs.ts";
import { hostLandmarks, knownLandmarks, type Landmark } from "../plan/landmarks.ts";
import { slots } from "../plan/path.ts";
import { withoutHosts } from "../plan/pod-cidrs.ts";
import { type Settings, slotDevice } from "../plan/settings.ts";
import type { Kernel } from "./kernel.ts";

const families: readonly Family[] = [4, 6];
const mainTable = 254;

/** Throws NetlinkError, SysError. */
export function observeLandmarks(settings: Settings, { host }: Kernel): Landmark[] {
  return hostLandmarks({
    links: host.links(),
    addresses: host.addresses(),
    routes: families.flatMap((family) => host.routes({ family, table: mainTable, type: "unicast" })),
    uplinks: findUplinks(host),
    ownDevices: slots.map((slot) => slotDevice(settings, slot)),
  });
}

export interface Networks {
  /** The peers without what of their pod CIDRs holds a landmark. */
  readonly ownership: Ownership;
  readonly clusterCIDRs: JudgedCIDRs;
}

/** By what was weighed of one generation, with the landmarks: to judge thousands of peers takes as long as to plan them. */
const judged = new WeakMap<
  Ownership,
  { readonly landmarks: readonly Landmark[]; readonly networks: Networks }
>();

/** `landmarks`: those around this node. */
export function judgeNetworks(
  settings: Settings,
  node: NodeRecord,
  ownership: Ownership,
  landmarks: readonly Landmark[],
): Networks {
  const before = judged.get(ownership);
  if (before?.landmarks === landmarks) return before.networks;
  const { clusterCIDRs } = settings;
  const own = knownLandmarks({ node, peers: [], settings });
  const all = () => [...knownLandmarks({ node, peers: ownership.peers, settings }), ...landmarks];
  const networks = {
    ownership: withoutHosts(ownership, [...own, ...withoutPeers(landmarks, ownership)]),
    clusterCIDRs: clusterCIDRs.length === 0 ? noCIDRs : judgeClusterCIDRs(clusterCIDRs, all()),
  };
  judged.set(ownership, { landmarks, networks });
  return networks;
}

/** Where nodes are each other's gateways there are as many as nodes, and what a node has, its own claim guards. */
function withoutPeers(landmarks: readonly Landmark[], { peers }: Ownership): readonly Landmark[] {
  if (landmarks.length <= fewLandmarks) return landmarks;
  const nodeIPs = new Set(peers.flatMap((peer) => peer.nodeIPs));
  return landmarks.filter(({ ip }) => !nodeIPs.has(ip));
}

const fewLandmarks = 16;

const noCIDRs: JudgedCIDRs = { kept: [], refusals: [] };
