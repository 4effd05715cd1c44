// The table of the node's settings. Each row has the default and its reason, the help
// text, and how a value is read and shown. settings.ts derives the settings of a node
// from it. Pure.
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
  /** The mode decides if traffic uses the tunnel, and if traffic that cannot use it goes in plaintext or is rejected. */
  mode: row({
    default: "permissive",
    reason: "encryption can be rolled out node by node without losing a packet",
    help: "what happens to traffic to a peer that has no working tunnel: permissive sends it in plaintext, strict rejects it; off encrypts nothing and only tries handshakes",
    value: "off|permissive|strict",
    parse: oneOf("off", "permissive", "strict"),
  }),
  /** The prefixes hold all pods of the cluster. Strict mode rejects traffic to them unless it goes to a known peer. */
  clusterCIDRs: row({
    default: [],
    reason: "without them strict mode rejects only what a known peer announces",
    help: "all pod CIDRs of the cluster; strict mode sends nothing to them in plaintext, and the pod addresses that peers announce count only if they are in them",
    value: "CIDR",
    parse: cidrList,
    show: (cidrs) => cidrs.join(","),
  }),
  /** The prefixes hold all nodes. The node IPs that a peer announces count only if they are in them. If the list is empty, a node IP counts once a handshake came from it. */
  nodeCIDRs: row({
    default: [],
    reason: "a node IP counts if a handshake has come from it",
    help: "all networks of nodes; a node IP outside them does not count, and a node IP listed by itself (/32, /128) counts without a handshake from it",
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
    help: "firewall mark of encrypted packets, which lets them skip wg-cni's routing tables, and the mask of the two bits that wg-cni uses",
    value: "MARK/MASK",
    parse: parseMark,
    show: formatMark,
  }),
  /** wg-cni uses this rule priority and the three after it. */
  rulePriority: row({
    default: 97,
    reason: "before the main table and before everything cloud CNIs install, after `local`",
    help: "first of the four rule priorities",
    value: "N",
    parse: integer(1, 32762),
  }),
  /** The routing table holds the routes to remote hosts. */
  hostTable: table(18098, "routing table for traffic from pods to remote hosts"),
  /** The routing table holds the routes to remote pods. */
  podTable: table(18099, "routing table for remote pods"),
  /** This RTPROT_* number marks wg-cni's routes and rules. */
  routeProtocol: row({
    default: 118,
    reason: "unassigned in rt_protos; 'v' for veiled",
    help: "route protocol number that marks wg-cni's routes and rules",
    value: "N",
    parse: integer(5, 255),
  }),
  /** The MTU of the WireGuard devices is in bytes; 0 derives it from the uplink. */
  mtu: row({
    default: 0,
    reason:
      "the smallest MTU on the paths to the peers, minus the tunnel's overhead of 60 bytes (IPv4) or 80 bytes (IPv6)",
    help: "MTU of the WireGuard devices",
    value: "BYTES",
    parse: (raw) => {
      const mtu = integer(0, 65535)(raw);
      if (mtu !== 0 && mtu < 576) throw new ParseError("must be 0 (derived) or at least 576");
      return mtu;
    },
    show: (mtu) => (mtu === 0 ? "derived" : String(mtu)),
  }),
  /** The agent sends a keepalive to every peer after this many seconds; 0 turns keepalives off. */
  persistentKeepalive: row({
    default: 0,
    reason: "nodes reach each other directly; only NAT between them needs keepalives",
    help: "seconds between keepalives to every peer; 0 sends none",
    value: "SECONDS",
    parse: integer(0, 65535),
  }),
  backend: row({
    default: "auto",
    reason: "the kernel's WireGuard if it has one, otherwise a userspace implementation",
    help: "WireGuard implementation",
    value: "auto|kernel|userspace",
    parse: oneOf("auto", "kernel", "userspace"),
  }),
  /** The file holds the key that seals private keys at rest. */
  sealKeyFile: row({
    default: "/etc/wg-cni/seal.key",
    reason: "apart from the store, so that a copy of the store reveals no private key",
    help: "file of the key that seals private keys in the store; created once",
    value: "FILE",
    parse: absolutePath,
  }),
  /** The addresses of this interface are the node's endpoints if --endpoint was not given; "" selects the default route's interface. */
  transportInterface: row({
    default: "",
    reason: "the interface of the default route is the one that reaches other nodes",
    help: "interface whose addresses are this node's endpoints if --endpoint is not given",
    value: "NAME",
    parse: interfaceName,
  }),
  /** If the interface has several addresses, those in these prefixes are endpoints; an empty list takes all. */
  transportCIDRs: row({
    default: [],
    reason: "most nodes have one underlay address per IP family",
    help: "prefixes that select the endpoints if the interface has several addresses",
    value: "CIDR",
    parse: cidrList,
    show: (cidrs) => cidrs.join(","),
  }),
  /** The agent watches the node records in this directory and writes this node's own record to it; "" is none. */
  recordsDir: row({
    default: "",
    reason: "records come by `peer import`",
    help: "directory of node records: the agent reads the peers' records from it and writes this node's own record to it",
    value: "DIR",
    parse: (raw) => (raw === "" ? "" : absolutePath(raw)),
  }),
  /** The setting selects the Kubernetes API that stores the records: "in-cluster", the path of a kubeconfig file, or "" for none. */
  kubeconfig: row({
    default: "",
    reason: "records come by `peer import` or from a directory",
    help: "Kubernetes API that stores the node records: in-cluster for a pod's service account, or a kubeconfig file",
    value: "in-cluster|FILE",
    parse: kubeconfigPlace,
  }),
  /** Pods get their addresses from the Node's pod CIDRs, or from the network; in the second case the node announces each address. */
  podAddresses: row({
    default: "node",
    reason: "most clusters give each node CIDRs for its pods",
    help: "what this node announces for its pods: its pod CIDRs (node), or the address of each pod (pods), which AKS and EKS need",
    value: "node|pods",
    parse: oneOf("node", "pods"),
  }),
  /** If the network assigns the pod's address, ADD waits this many seconds until peers can read it; 0 does not wait. */
  publishWait: row({
    default: 0,
    reason: "a pod can start without the API",
    help: "with --pod-addresses pods: how long ADD waits until the pod's address is published, or off",
    value: "TIME",
    parse: duration(1, true),
    show: showDuration,
  }),
  /** The agent releases a pod's resources once its namespace has been gone for this many seconds; 0 is never. */
  releaseAfter: row({
    default: 300,
    reason: "a runtime that is restarted sends its DELs within minutes",
    help: "how long a pod's network namespace must be gone, without a DEL, before the agent releases the pod's resources; or off",
    value: "TIME",
    parse: duration(5, true),
    show: showDuration,
  }),
  /** If it is on, traffic between the nodes themselves goes through the tunnel, too. */
  hostEncryption: row({
    default: false,
    reason:
      "host traffic stays outside the tunnel, so the loss of the tunnel never cuts a node off from its control plane",
    help: "also encrypt the traffic between the nodes themselves",
    value: "on|off",
    parse: onOff,
    show: showOnOff,
  }),
  /** The entries name host traffic that stays outside the tunnel despite hostEncryption, in addition to the control plane. */
  hostEncryptionExempt: row({
    default: [],
    reason: "the control plane is always exempt",
    help: "host traffic that stays outside the tunnel despite --host-encryption: IP, IP:PORT, tcp/PORT or udp/PORT",
    value: "WHAT",
    parse: exemptionList,
    show: showExemptions,
  }),
  /** Traffic to these addresses of the control plane is exempt. The agent probes them to learn whether host encryption cut the node off. */
  controlPlane: row({
    default: [],
    reason: "a node cannot find it by itself",
    help: "IP:PORT of the control plane: never encrypted, and probed to learn whether --host-encryption cut the node off",
    value: "IP:PORT",
    parse: ipPortList,
    show: showIpPorts,
  }),
  /** Host encryption is reverted if the control plane gives no answer for this many seconds. */
  deadManTimeout: row({
    default: 60,
    reason: "longer than a control plane takes to restart, shorter than a node is declared lost",
    help: "how long the control plane may be unreachable before --host-encryption is reverted",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  }),
  /** The agent rotates this node's keys after this many seconds; 0 is never. */
  keyRotation: row({
    default: 86_400,
    reason: "a leaked key is useful for one day at most",
    help: "time between rotations of this node's keys by the agent, or off",
    value: "TIME",
    parse: duration(60, true),
    show: showDuration,
  }),
  /** A rotation waits this many seconds for peers to leave a slot. */
  drainTimeout: row({
    default: 300,
    reason: "a reachable peer leaves a slot within seconds",
    help: "how long a rotation waits for a peer to leave the slot",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  }),
  /** This node is ready for strict mode once this many seconds passed without a packet in plaintext. */
  plaintextWindow: row({
    default: 300,
    reason: "long enough to notice traffic that is sent only now and then",
    help: "how long no packet may pass in plaintext before the node reports that it is ready for strict mode",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  }),
  /** If it is on, kernel threads process the packets of the kernel's WireGuard devices. */
  napiThreading: row({
    default: false,
    reason: "one core is enough for most nodes, and some kernels stall with it",
    help: "process the packets of the kernel's WireGuard devices in separate threads (threaded NAPI)",
    value: "on|off",
    parse: onOff,
    show: showOnOff,
  }),
  /** The agent serves metrics and health at this ADDRESS:PORT; "off" serves none. */
  metricsAddress: row({
    default: "127.0.0.1:9586",
    reason: "9586 is the usual port of WireGuard exporters, and only the node itself can reach it",
    help: "address and port at which the agent serves metrics and health, or off",
    value: "IP:PORT",
    parse: listenAddress,
  }),
  /** The agent keeps wg-cni in the network configuration of this directory; "" is none. */
  installConfDir: row({
    default: "",
    reason: "the agent does not write to a runtime's configuration unless it is told to",
    help: "directory of network configurations in which the agent keeps wg-cni installed; `install --keep` sets it",
    value: "DIR",
    parse: (raw) => (raw === "" ? "" : absolutePath(raw)),
  }),
  /** The agent keeps the executable in this directory of plugins. */
  installBinDir: row({
    default: "/opt/cni/bin",
    reason: "the directory of plugins that runtimes use by default",
    help: "directory of plugins in which the agent keeps the executable",
    value: "DIR",
    parse: absolutePath,
  }),
  /** The setting is wg-cni's entry in the network configuration, as JSON (plan/settings/entry.ts); "" leaves the entry as it is. */
  installEntry: row({
    default: "",
    reason: "an existing entry stays as it is",
    help: "wg-cni's own keys in the network configuration, as JSON",
    value: "JSON",
    parse: (raw) => (raw === "" ? "" : formatEntry(parseEntry(raw))),
  }),
};
