// Keeps the cluster's own addresses, which no peer may claim, in the store: every process then judges
// claims alike, and neither an outage of the API nor a restart of the agent changes anything.

import { inCluster } from "../../kubeclient/credentials.ts";
import type { ClusterHosts } from "../../net/cluster-hosts.ts";
import { isIp, parseIp } from "../../net/ip.ts";
import type { Store } from "../../state/store.ts";
import { apiServerIPs } from "./api-address.ts";
import type { ClusterAnswer } from "./session.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** `kubeconfig`: the setting. Values that the API does not provide now stay as they were. Throws StoreError. */
export function followClusterHosts(store: Store, kubeconfig: string, seen: ClusterAnswer, env: Env): void {
  const before = store.clusterHosts();
  const service = env["KUBERNETES_SERVICE_HOST"] ?? "";
  const isService = kubeconfig === inCluster && isIp(service);
  const known = apiServerIPs(kubeconfig, env);
  // The earlier ones are kept until the API has listed its endpoints: an agent that starts does not know them yet.
  const endpoints = seen.endpoints ?? (kubeconfig === "" ? [] : before.apiServers);
  const now: ClusterHosts = {
    apiServers: [...new Set([...known, ...endpoints])].sort(),
    serviceCIDRs: seen.serviceCIDRs ?? (kubeconfig === "" ? [] : before.serviceCIDRs),
    ...(isService ? { apiService: parseIp(service) } : {}),
  };
  if (!Bun.deepEquals(now, before)) store.putClusterHosts(now);
}
