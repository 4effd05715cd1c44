// The cluster's own hosts as far as this node knows them. No peer may claim them.

export interface ClusterHosts {
  /** Addresses by which this node reaches the API server, and those that it answers at. */
  readonly apiServers: readonly string[];
  /** The networks of the services, as the API has them; empty if it has none. */
  readonly serviceCIDRs: readonly string[];
  /** The address of the API's service, if the agent runs in the cluster. */
  readonly apiService?: string;
}

export const noClusterHosts: ClusterHosts = { apiServers: [], serviceCIDRs: [] };
