// The node's settings one by one: default, its reason, what it is for, and how a value
// is read and shown. What they are to the rest is settings.ts. Pure.
import { ParseError } from "../../net/error.ts";
import { formatEntry, parseEntry } from "./entry.ts";
import {
  absolutePath,
  cidrList,
  device,
  duration,
  exemptionList,
  formatMark,
  integer,
  interfaceName,
  ipPortList,
  kubeconfigPlace,
  listenAddress,
  oneOf,
  onOff,
  parseMark,
  port,
  type Setting,
  showDuration,
  showExemptions,
  showIpPorts,
  showOnOff,
  table,
} from "./parsers.ts";

/** One row; the type of its value is what `parse` returns. */
function row<T>(setting: Omit<Setting<T>, "default"> & { readonly default: NoInfer<T> }): Setting<T> {
  return setting;
}

export const settingTable = {
  /** Whether traffic takes the tunnel at all, and what happens to what cannot: as without us, or refused. */
  mode: row({
    default: "permissive",
    reason: "encryption can be rolled out node by node without losing a packet",
    help: "whether pods of a peer that cannot be encrypted to are reached in clear (permissive) or refused (strict); off encrypts to nobody, and only tries whether it could",
    value: "off|permissive|strict",
    parse: oneOf("off", "permissive", "strict"),
  }),
  /** Prefixes that hold all pods of the cluster; in strict mode refused as a whole, but for known peers. */
  clusterCIDRs: row({
    default: [],
    reason: "without them strict mode refuses only what a known peer announces",
    help: "all pod CIDRs of the cluster; in strict mode nothing in them is reached in clear, and pods that others announce count only in them",
    value: "CIDR",
    parse: cidrList,
    show: (cidrs) => cidrs.join(","),
  }),
  /** Prefixes that hold all nodes; what a peer says of itself counts only in them. Empty: wherever a handshake comes from. */
  nodeCIDRs: row({
    default: [],
    reason: "a node IP counts where a handshake has come from it",
    help: "all networks of nodes; a node IP outside of them does not count, and one that is named alone (/32, /128) counts without a handshake from it",
    value: "CIDR",
    parse: cidrList,
    show: (cidrs) => cidrs.join(","),
  }),
  deviceA: device("wg-cni-a", "a"),
  deviceB: device("wg-cni-b", "b"),
  portA: port(51820, "a", "the port WireGuard users expect"),
  portB: port(51821, "b", "next to slot a's"),
  fwmark: row({
    default: { mark: 0x20000000, mask: 0x60000000 },
    reason: "two bits that Kubernetes components and the common CNIs leave free",
    help: "firewall mark of encrypted packets, so that they skip our tables, and the two bits that are ours",
    value: "MARK/MASK",
    parse: parseMark,
    show: formatMark,
  }),
  /** The first of four consecutive rule priorities. */
  rulePriority: row({
    default: 97,
    reason: "before the main table and before everything cloud CNIs install, after `local`",
    help: "first of the four rule priorities",
    value: "N",
    parse: integer(1, 32762),
  }),
  /** Routing table for what goes to remote hosts. */
  hostTable: table(18098, "routing table for what pods send to remote hosts"),
  /** Routing table for what goes to remote pods. */
  podTable: table(18099, "routing table for remote pods"),
  /** RTPROT_* number that marks our routes and rules. */
  routeProtocol: row({
    default: 118,
    reason: "unassigned in rt_protos; 'v' for veiled",
    help: "route protocol number that marks our routes and rules",
    value: "N",
    parse: integer(5, 255),
  }),
  /** MTU of the WireGuard devices in bytes; 0 derives it from the uplink. */
  mtu: row({
    default: 0,
    reason: "the narrowest way to a peer, less the tunnel's 60 bytes (IPv4) or 80 (IPv6)",
    help: "MTU of the WireGuard devices",
    value: "BYTES",
    parse: (raw) => {
      const mtu = integer(0, 65535)(raw);
      if (mtu !== 0 && mtu < 576) throw new ParseError("must be 0 (derived) or at least 576");
      return mtu;
    },
    show: (mtu) => (mtu === 0 ? "derived" : String(mtu)),
  }),
  /** Seconds between keepalives to every peer; 0 is off. */
  persistentKeepalive: row({
    default: 0,
    reason: "nodes reach each other directly; only NAT between them needs keepalives",
    help: "seconds between keepalives to every peer, 0 for none",
    value: "SECONDS",
    parse: integer(0, 65535),
  }),
  backend: row({
    default: "auto",
    reason: "the kernel's WireGuard where it has one, else a userspace implementation",
    help: "WireGuard implementation",
    value: "auto|kernel|userspace",
    parse: oneOf("auto", "kernel", "userspace"),
  }),
  /** Path of the key that seals private keys at rest. */
  sealKeyFile: row({
    default: "/etc/wg-cni/seal.key",
    reason: "apart from the store, so that a copy of the store reveals no private key",
    help: "file of the key that seals private keys in the store; made once",
    value: "FILE",
    parse: absolutePath,
  }),
  /** Interface whose addresses are this node's endpoints where none was typed; "" for the default route's. */
  transportInterface: row({
    default: "",
    reason: "the interface of the default route is the one that reaches other nodes",
    help: "interface whose addresses are this node's endpoints, where --endpoint is not given",
    value: "NAME",
    parse: interfaceName,
  }),
  /** Of several addresses, those in these prefixes are endpoints; empty takes all. */
  transportCIDRs: row({
    default: [],
    reason: "most nodes have one underlay address a family",
    help: "of several addresses, those in here are endpoints",
    value: "CIDR",
    parse: cidrList,
    show: (cidrs) => cidrs.join(","),
  }),
  /** Folder of node records that the agent watches, and writes this node's own to; "" for none. */
  recordsDir: row({
    default: "",
    reason: "records come by `peer import`",
    help: "folder of node records: the agent takes the others' from it and writes this node's own to it",
    value: "FOLDER",
    parse: (raw) => (raw === "" ? "" : absolutePath(raw)),
  }),
  /** Where the Kubernetes API is that records are kept in: "in-cluster", a kubeconfig file's path, or "" for none. */
  kubeconfig: row({
    default: "",
    reason: "records come by `peer import` or from a folder",
    help: "Kubernetes API that node records are kept in: in-cluster for a pod's service account, or a kubeconfig file",
    value: "in-cluster|FILE",
    parse: kubeconfigPlace,
  }),
  /** Where this node's pods have their addresses from: the Node's pod CIDRs, or the network, so that each is announced. */
  podAddresses: row({
    default: "node",
    reason: "most clusters give each node CIDRs for its pods",
    help: "what this node announces for its pods: its CIDRs (node) or each one's address (pods), as AKS and EKS need it",
    value: "node|pods",
    parse: oneOf("node", "pods"),
  }),
  /** Seconds that ADD waits until the others can read of the pod's address, where it is the network's; 0 for not at all. */
  publishWait: row({
    default: 0,
    reason: "a pod starts without the API",
    help: "with --pod-addresses pods, how long ADD waits until the pod's address is published, or off",
    value: "TIME",
    parse: duration(1, true),
    show: showDuration,
  }),
  /** Seconds for which a pod's namespace is gone until the agent releases what it had; 0 for never. */
  releaseAfter: row({
    default: 300,
    reason: "a runtime that is restarted sends its DELs within minutes",
    help: "how long the network namespace of a pod is gone until the agent releases what it had, where no DEL came; or off",
    value: "TIME",
    parse: duration(5, true),
    show: showDuration,
  }),
  /** Traffic between the nodes themselves goes through the tunnel too. */
  hostEncryption: row({
    default: false,
    reason: "host to host stays outside, so losing the tunnel never cuts a node from its control plane",
    help: "encrypt what the nodes themselves send to each other too",
    value: "on|off",
    parse: onOff,
    show: showOnOff,
  }),
  /** What stays outside the tunnel in spite of hostEncryption, beside the control plane. */
  hostEncryptionExempt: row({
    default: [],
    reason: "the control plane is exempt anyway",
    help: "what stays outside in spite of --host-encryption: IP, IP:PORT, tcp/PORT or udp/PORT",
    value: "WHAT",
    parse: exemptionList,
    show: showExemptions,
  }),
  /** Addresses of the control plane: exempt, and asked whether host encryption cut the node off. */
  controlPlane: row({
    default: [],
    reason: "a node does not know it without being told",
    help: "IP:PORT of the control plane: never encrypted, and asked whether --host-encryption cut the node off",
    value: "IP:PORT",
    parse: ipPortList,
    show: showIpPorts,
  }),
  /** Seconds without an answer of the control plane after which host encryption is taken back. */
  deadManTimeout: row({
    default: 60,
    reason: "longer than a control plane takes to restart, shorter than a node is declared lost",
    help: "time without the control plane after which --host-encryption is taken back",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  }),
  /** Seconds between rotations of this node's keys; 0 for never. */
  keyRotation: row({
    default: 86_400,
    reason: "a key that leaks is of use for a day",
    help: "time between rotations of this node's keys by the agent, or off",
    value: "TIME",
    parse: duration(60, true),
    show: showDuration,
  }),
  /** Seconds that a rotation waits for peers to leave a slot. */
  drainTimeout: row({
    default: 300,
    reason: "a peer that is there leaves a slot within seconds",
    help: "how long a rotation waits for a peer to leave the slot",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  }),
  /** Seconds without a packet in clear after which this node is ready for strict mode. */
  quietTime: row({
    default: 300,
    reason: "what is sent now and then in clear is seen by then",
    help: "how long nothing may go in clear before a node says that it is ready for strict mode",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  }),
  /** Packets of a kernel device are handled in threads of their own. */
  napiThreading: row({
    default: false,
    reason: "one core does for most nodes; some kernels stall with it",
    help: "handle packets of the kernel's devices in threads of their own",
    value: "on|off",
    parse: onOff,
    show: showOnOff,
  }),
  /** ADDRESS:PORT of metrics and health, or "off". */
  metricsAddress: row({
    default: "127.0.0.1:9586",
    reason: "9586 is what exporters for WireGuard listen on; only the node itself sees it",
    help: "where the agent serves metrics and health, or off",
    value: "IP:PORT",
    parse: listenAddress,
  }),
  /** Folder of network configurations that the agent keeps wg-cni in; "" for none. */
  installConfDir: row({
    default: "",
    reason: "nobody writes to a runtime's configuration without being told",
    help: "folder of networks that the agent keeps wg-cni in, as `install --keep` says",
    value: "FOLDER",
    parse: (raw) => (raw === "" ? "" : absolutePath(raw)),
  }),
  /** Folder of plugins that it keeps the executable in. */
  installBinDir: row({
    default: "/opt/cni/bin",
    reason: "where runtimes take plugins from unless they are told otherwise",
    help: "folder of plugins that the agent keeps the executable in",
    value: "FOLDER",
    parse: absolutePath,
  }),
  /** wg-cni's entry in the network as JSON (plan/settings/entry.ts); "" for whatever is there. */
  installEntry: row({
    default: "",
    reason: "an entry that is there stays as it is",
    help: "wg-cni's own keys in the network, as JSON",
    value: "JSON",
    parse: (raw) => (raw === "" ? "" : formatEntry(parseEntry(raw))),
  }),
};
