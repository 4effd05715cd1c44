// The cluster's own addresses, which no peer may claim and no cluster CIDR may contain: the API's, and
// those of its services. The store keeps them, so every process judges claims alike, and neither an
// outage of the API nor a restart of the agent changes anything.
import { inCluster } from "../../kubeclient/credentials.ts";
import { findText } from "../../linux/file.ts";
import { SysError } from "../../linux/syscall.ts";
import type { ClusterHosts } from "../../net/cluster-hosts.ts";
import { isIp, parseIp } from "../../net/ip.ts";
import { judgeClusterCIDRs } from "../../plan/peers/cluster-cidrs.ts";
import { knownLandmarks } from "../../plan/peers/landmarks.ts";
import { noNode } from "../../reconcile/node-reader.ts";
import type { Session } from "../../reconcile/session.ts";
import type { Store } from "../../state/store.ts";
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

/**
 * Finds the addresses of the Kubernetes API: a pod of the cluster takes those of the API's service, other
 * processes those in their kubeconfig. Names are not resolved. A file that cannot be read yields no address.
 */
export function apiServerIPs(kubeconfig: string, env: Env): string[] {
  const hosts = kubeconfig === inCluster ? [env["KUBERNETES_SERVICE_HOST"] ?? ""] : hostsOf(kubeconfig);
  return [...new Set(hosts.filter(isIp).map(parseIp))];
}

function hostsOf(path: string): string[] {
  const text = path === "" ? "" : readIfAllowed(path);
  return [...text.matchAll(serverLine)].map(([, ip6, host]) => ip6 ?? host ?? "");
}

/** `server: https://192.0.2.1:6443`, in YAML or JSON. */
const serverLine = /["']?server["']?\s*:\s*["']?https?:\/\/(?:\[([^\]]+)\]|([^\s:/"',]+))/g;

/** The reader of the credentials reports a file that cannot be read. */
function readIfAllowed(path: string): string {
  try {
    return findText(path) ?? "";
  } catch (error) {
    if (error instanceof SysError) return "";
    throw error;
  }
}
