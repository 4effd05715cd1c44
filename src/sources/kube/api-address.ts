// Addresses of the Kubernetes API as a node is told of them: of its service where it is
// a pod of the cluster, else those that its kubeconfig names. A name is not looked up.

import { inCluster } from "../../kubeclient/credentials.ts";
import { findText } from "../../linux/file.ts";
import { SysError } from "../../linux/syscall.ts";
import { isIp, parseIp } from "../../net/ip.ts";

/** `place`: the setting `kubeconfig`. What cannot be read names none. */
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

/** Who cannot read it says so elsewhere. */
function readIfAllowed(path: string): string {
  try {
    return findText(path) ?? "";
  } catch (error) {
    if (error instanceof SysError) return "";
    throw error;
  }
}
