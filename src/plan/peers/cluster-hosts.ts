// The networks of the cluster's services, which no peer may claim a part of. Pure.
import type { ClusterHosts } from "../../net/cluster-hosts.ts";
import { familyOf } from "../../net/ip.ts";
import { formatPrefix, hostPrefix, prefixBytes, prefixContains } from "../../net/prefix.ts";
import type { ReservedNetwork } from "./claim-bounds.ts";

/** Narrower than any network of services; the API's and the resolver's are its first addresses. */
const narrowest = { 4: 24, 6: 112 } as const;

/**
 * The networks of the services; if the API does not say them, what is certain by the address of its own
 * service. It may be a host's instead, if a cluster without kube-proxy sets KUBERNETES_SERVICE_HOST:
 * no network that this node's own IPs are in is the services'.
 */
export function serviceNetworks(
  { serviceCIDRs, apiService }: ClusterHosts,
  nodeIPs: readonly string[],
): ReservedNetwork[] {
  const whose = "the network of the cluster's services";
  const derived = apiService === undefined || serviceCIDRs.length > 0 ? [] : [around(apiService)];
  const isHosts = (network: string) => nodeIPs.some((ip) => prefixContains(network, hostPrefix(ip)));
  return [...serviceCIDRs, ...derived.filter((network) => !isHosts(network))].map((network) => ({
    ...{ network, whose },
  }));
}

function around(ip: string): string {
  return formatPrefix(prefixBytes(hostPrefix(ip)).bytes, narrowest[familyOf(ip)]);
}
