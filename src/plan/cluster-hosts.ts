// The networks of the cluster's services, which no peer may claim a part of. Pure.
import type { ClusterHosts } from "../net/cluster-hosts.ts";
import { familyOf } from "../net/ip.ts";
import { formatPrefix, hostPrefix, prefixBytes } from "../net/prefix.ts";
import type { ReservedNetwork } from "./claim-bounds.ts";

/** Narrower than any network of services; the API's and the resolver's are its first addresses. */
const narrowest = { 4: 24, 6: 112 } as const;

/** The networks of the services; if the API does not say them, what is certain by the address of its own service. */
export function serviceNetworks({ serviceCIDRs, apiService }: ClusterHosts): ReservedNetwork[] {
  const whose = "the network of the cluster's services";
  const derived = apiService === undefined ? [] : [around(apiService)];
  return [...new Set([...serviceCIDRs, ...derived])].map((network) => ({ network, whose }));
}

function around(ip: string): string {
  return formatPrefix(prefixBytes(hostPrefix(ip)).bytes, narrowest[familyOf(ip)]);
}
