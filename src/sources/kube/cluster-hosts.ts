// Keeps in the store what no peer may claim of the cluster's own: every process then judges claims alike,
// and an outage of the API or a restart of the agent changes nothing.

import { inCluster } from "../../kubeclient/credentials.ts";
import type { ClusterHosts } from "../../net/cluster-hosts.ts";
import { isIp, parseIp } from "../../net/ip.ts";
import type { Store } from "../../state/store.ts";
import { apiServerIPs } from "./api-address.ts";
import type { ClusterAnswer } from "./session.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** `place`: the setting `kubeconfig`. What the API does not say now stays as it was. Throws StoreError. */
export function followClusterHosts(store: Store, kubeconfig: string, seen: ClusterAnswer, env: Env): void {
  const before = store.clusterHosts();
  const service = env["KUBERNETES_SERVICE_HOST"] ?? "";
  const isService = kubeconfig === inCluster && isIp(service);
  const known = apiServerIPs(kubeconfig, env);
  // Those of before are kept until the API says where it answers: an agent that starts does not know yet.
  const endpoints = seen.endpoints ?? (kubeconfig === "" ? [] : before.apiServers);
  const now: ClusterHosts = {
    apiServers: [...new Set([...known, ...endpoints])].sort(),
    serviceCIDRs: seen.serviceCIDRs ?? (kubeconfig === "" ? [] : before.serviceCIDRs),
    ...(isService ? { apiService: parseIp(service) } : {}),
  };
  if (!Bun.deepEquals(now, before)) store.putClusterHosts(now);
}
