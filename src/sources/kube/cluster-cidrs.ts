// Checks the cluster CIDRs of the cluster's mesh against what this node knows of hosts.
import { judgeClusterCIDRs } from "../../plan/peers/cluster-cidrs.ts";
import { knownLandmarks } from "../../plan/peers/landmarks.ts";
import { noNode } from "../../reconcile/node.ts";
import type { Session } from "../../reconcile/session.ts";
import { apiServerIPs } from "./api-address.ts";

/** Returns a sentence for each CIDR that contains an address of a host or service. Throws StoreError, NetlinkError, SysError. */
export function refuseClusterCIDRs(
  { nodes, kernel, peerRoutes }: Session,
  cidrs: readonly string[],
): string[] {
  if (cidrs.length === 0) return [];
  const { settings, ownership, record: node = noNode } = nodes.intent();
  const apiServers = apiServerIPs(settings.kubeconfig, process.env);
  const known = knownLandmarks({ node, peers: ownership.peers, settings, apiServers });
  const { refusals } = judgeClusterCIDRs(cidrs, [...known, ...peerRoutes.landmarks(settings, kernel)]);
  return refusals.map(({ reason }) => reason);
}
