// Configures the daemons of a node of the small cluster. They have their defaults, except for settings that
// a machine may withhold from its root (lowering the OOM score, AppArmor, limits) and settings of the whole
// machine.

import { imageName } from "../../runtime/support/image.ts";

export type ProxyMode = "iptables" | "nftables";

/** All nodes' pods. */
export const podNetwork = "10.244.0.0/16";

export const containerdConfig = `version = 3

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "${imageName}"

[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
`;

export function kubeletConfig(clientCAFile: string): string {
  return JSON.stringify({
    ...{ apiVersion: "kubelet.config.k8s.io/v1beta1", kind: "KubeletConfiguration" },
    authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile } },
    authorization: { mode: "Webhook" },
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    cgroupDriver: "cgroupfs",
    failCgroupV1: false,
    failSwapOn: false,
    // Settings of the kernel and scores that it may not have are no reason to end.
    featureGates: { KubeletInUserNamespace: true },
    oomScoreAdj: 0,
    // Its default is in /usr.
    volumePluginDir: "/var/lib/kubelet/plugins",
    resolvConf: "",
    // The disk is everybody's.
    localStorageCapacityIsolation: false,
    evictionHard: { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
    imageGCHighThresholdPercent: 100,
  });
}

export function proxyConfig(mode: ProxyMode, hostnameOverride: string, ip: string): string {
  return JSON.stringify({
    ...{ apiVersion: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration" },
    ...{ mode, hostnameOverride, clusterCIDR: podNetwork, bindAddress: ip },
    clientConnection: { kubeconfig: "/etc/kubernetes/proxy.kubeconfig" },
    // The size of the table is the machine's.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  });
}
