// Finds the networks of the cluster's services, of which no peer may claim a part. Pure.
import type { ClusterHosts } from "../../net/cluster-hosts.ts";
import { familyOf } from "../../net/ip.ts";
import { formatPrefix, hostPrefix, prefixBytes, prefixContains } from "../../net/prefix.ts";
import type { ReservedNetwork } from "./claim-bounds.ts";

/** This length is narrower than any network of services; the API and the resolver have its first addresses. */
const narrowest = { 4: 24, 6: 112 } as const;

/**
 * Returns the networks of the services. If the API does not have them, it returns the part that is certain
 * from the address of the API's own service. That address may be a host's, if a cluster without kube-proxy
 * sets KUBERNETES_SERVICE_HOST: a network that contains this node's own IPs is not the services'.
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
