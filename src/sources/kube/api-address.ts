// Finds the addresses of the Kubernetes API: a pod of the cluster takes those of the API's service,
// other processes those in their kubeconfig. Names are not resolved.

import { inCluster } from "../../kubeclient/credentials.ts";
import { findText } from "../../linux/file.ts";
import { SysError } from "../../linux/syscall.ts";
import { isIp, parseIp } from "../../net/ip.ts";

/** `kubeconfig`: the setting. A file that cannot be read yields no address. */
export function apiServerIPs(
  kubeconfig: string,
  env: Readonly<Record<string, string | undefined>>,
): string[] {
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
