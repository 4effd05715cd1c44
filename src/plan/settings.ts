// The node's settings: names, bounds and defaults, each with its reason. The
// store keeps only what was set (key and JSON value); everything else is
// derived here, so that `status` can say where a value comes from. Pure.
import { ParseError } from "../net/error.ts";
import type { Exemption } from "../net/exemption.ts";
import type { IpPort } from "../net/ip-port.ts";
import type { Mark } from "../net/objects.ts";
import type { Slot } from "../net/record.ts";
import { suggest } from "../net/suggest.ts";
import { formatEntry, parseEntry } from "./entry.ts";
import {
  absolutePath,
  cidrList,
  device,
  duration,
  exemptionList,
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
} from "./setting.ts";

export type Mode = "off" | "permissive" | "strict";
export type BackendChoice = "auto" | "kernel" | "userspace";
export type PodAddresses = "node" | "pods";

export interface Settings {
  /** Whether traffic takes the tunnel at all, and what happens to what cannot: as without us, or refused. */
  readonly mode: Mode;
  /** Prefixes that hold all pods of the cluster; in strict mode refused as a whole, but for known peers. */
  readonly clusterCIDRs: readonly string[];
  readonly deviceA: string;
  readonly deviceB: string;
  readonly portA: number;
  readonly portB: number;
  readonly fwmark: Mark;
  /** The first of four consecutive rule priorities. */
  readonly rulePriority: number;
  /** Routing table for what goes to remote hosts. */
  readonly hostTable: number;
  /** Routing table for what goes to remote pods. */
  readonly podTable: number;
  /** RTPROT_* number that marks our routes and rules. */
  readonly routeProtocol: number;
  /** MTU of the WireGuard devices in bytes; 0 derives it from the uplink. */
  readonly mtu: number;
  /** Seconds between keepalives to every peer; 0 is off. */
  readonly persistentKeepalive: number;
  readonly backend: BackendChoice;
  /** Path of the key that seals private keys at rest. */
  readonly sealKeyFile: string;
  /** Interface whose addresses are this node's endpoints where none was typed; "" for the default route's. */
  readonly transportInterface: string;
  /** Of several addresses, those in these prefixes are endpoints; empty takes all. */
  readonly transportCIDRs: readonly string[];
  /** Folder of node records that the agent watches, and writes this node's own to; "" for none. */
  readonly recordsDir: string;
  /** Where the Kubernetes API is that records are kept in: "in-cluster", a kubeconfig file's path, or "" for none. */
  readonly kubeconfig: string;
  /** Where this node's pods have their addresses from: the Node's pod CIDRs, or the network, so that each is announced. */
  readonly podAddresses: PodAddresses;
  /** Traffic between the nodes themselves goes through the tunnel too. */
  readonly hostEncryption: boolean;
  /** What stays outside the tunnel in spite of hostEncryption, beside the control plane. */
  readonly hostEncryptionExempt: readonly Exemption[];
  /** Addresses of the control plane: exempt, and asked whether host encryption cut the node off. */
  readonly controlPlane: readonly IpPort[];
  /** Seconds without an answer of the control plane after which host encryption is taken back. */
  readonly deadManTimeout: number;
  /** Seconds between rotations of this node's keys; 0 for never. */
  readonly keyRotation: number;
  /** Seconds that a rotation waits for peers to leave a slot. */
  readonly drainTimeout: number;
  /** Seconds without a packet in clear after which this node is ready for strict mode. */
  readonly quietTime: number;
  /** Packets of a kernel device are handled in threads of their own. */
  readonly napiThreading: boolean;
  /** ADDRESS:PORT of metrics and health, or "off". */
  readonly metricsAddress: string;
  /** Folder of network configurations that the agent keeps wg-cni in; "" for none. */
  readonly installConfDir: string;
  /** Folder of plugins that it keeps the executable in. */
  readonly installBinDir: string;
  /** wg-cni's entry in the network as JSON (plan/entry.ts); "" for whatever is there. */
  readonly installEntry: string;
}

type SettingTable = { readonly [K in keyof Settings]: Setting<Settings[K]> };

export const settingTable: SettingTable = {
  mode: {
    default: "permissive",
    reason: "encryption can be rolled out node by node without losing a packet",
    help: "whether pods of a peer that cannot be encrypted to are reached in clear (permissive) or refused (strict); off encrypts to nobody, and only tries whether it could",
    value: "off|permissive|strict",
    parse: oneOf("off", "permissive", "strict"),
  },
  clusterCIDRs: {
    default: [],
    reason: "without them strict mode refuses only what a known peer announces",
    help: "all pod CIDRs of the cluster; in strict mode nothing in them is reached in clear",
    value: "CIDR",
    parse: cidrList,
    show: (cidrs) => cidrs.join(","),
  },
  deviceA: device("wg-cni-a", "a"),
  deviceB: device("wg-cni-b", "b"),
  portA: port(51820, "a", "the port WireGuard users expect"),
  portB: port(51821, "b", "next to slot a's"),
  fwmark: {
    default: { mark: 0x100000, mask: 0x100000 },
    reason: "one bit that Kubernetes components and the common CNIs leave free",
    help: "firewall mark of encrypted packets, so that they skip our tables",
    value: "MARK/MASK",
    parse: parseMark,
    show: formatMark,
  },
  rulePriority: {
    default: 97,
    reason: "before the main table and before everything cloud CNIs install, after `local`",
    help: "first of the four rule priorities",
    value: "N",
    parse: integer(1, 32762),
  },
  hostTable: table(18098, "routing table for what pods send to remote hosts"),
  podTable: table(18099, "routing table for remote pods"),
  routeProtocol: {
    default: 118,
    reason: "unassigned in rt_protos; 'v' for veiled",
    help: "route protocol number that marks our routes and rules",
    value: "N",
    parse: integer(5, 255),
  },
  mtu: {
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
  },
  persistentKeepalive: {
    default: 0,
    reason: "nodes reach each other directly; only NAT between them needs keepalives",
    help: "seconds between keepalives to every peer, 0 for none",
    value: "SECONDS",
    parse: integer(0, 65535),
  },
  backend: {
    default: "auto",
    reason: "the kernel's WireGuard where it has one, else a userspace implementation",
    help: "WireGuard implementation",
    value: "auto|kernel|userspace",
    parse: oneOf("auto", "kernel", "userspace"),
  },
  sealKeyFile: {
    default: "/etc/wg-cni/seal.key",
    reason: "apart from the store, so that a copy of the store reveals no private key",
    help: "file of the key that seals private keys in the store; made once",
    value: "FILE",
    parse: absolutePath,
  },
  transportInterface: {
    default: "",
    reason: "the interface of the default route is the one that reaches other nodes",
    help: "interface whose addresses are this node's endpoints, where --endpoint is not given",
    value: "NAME",
    parse: interfaceName,
  },
  transportCIDRs: {
    default: [],
    reason: "most nodes have one underlay address a family",
    help: "of several addresses, those in here are endpoints",
    value: "CIDR",
    parse: cidrList,
    show: (cidrs) => cidrs.join(","),
  },
  recordsDir: {
    default: "",
    reason: "records come by `peer import`",
    help: "folder of node records: the agent takes the others' from it and writes this node's own to it",
    value: "FOLDER",
    parse: (raw) => (raw === "" ? "" : absolutePath(raw)),
  },
  kubeconfig: {
    default: "",
    reason: "records come by `peer import` or from a folder",
    help: "Kubernetes API that node records are kept in: in-cluster for a pod's service account, or a kubeconfig file",
    value: "in-cluster|FILE",
    parse: kubeconfigPlace,
  },
  podAddresses: {
    default: "node",
    reason: "most clusters give each node CIDRs for its pods",
    help: "what this node announces for its pods: its CIDRs (node) or each one's address (pods), as AKS and EKS need it",
    value: "node|pods",
    parse: oneOf("node", "pods"),
  },
  hostEncryption: {
    default: false,
    reason: "host to host stays outside, so losing the tunnel never cuts a node from its control plane",
    help: "encrypt what the nodes themselves send to each other too",
    value: "on|off",
    parse: onOff,
    show: showOnOff,
  },
  hostEncryptionExempt: {
    default: [],
    reason: "the control plane is exempt anyway",
    help: "what stays outside in spite of --host-encryption: IP, IP:PORT, tcp/PORT or udp/PORT",
    value: "WHAT",
    parse: exemptionList,
    show: showExemptions,
  },
  controlPlane: {
    default: [],
    reason: "a node does not know it without being told",
    help: "IP:PORT of the control plane: never encrypted, and asked whether --host-encryption cut the node off",
    value: "IP:PORT",
    parse: ipPortList,
    show: showIpPorts,
  },
  deadManTimeout: {
    default: 60,
    reason: "longer than a control plane takes to restart, shorter than a node is declared lost",
    help: "time without the control plane after which --host-encryption is taken back",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  },
  keyRotation: {
    default: 86_400,
    reason: "a key that leaks is of use for a day",
    help: "time between rotations of this node's keys by the agent, or off",
    value: "TIME",
    parse: duration(60, true),
    show: showDuration,
  },
  drainTimeout: {
    default: 300,
    reason: "a peer that is there leaves a slot within seconds",
    help: "how long a rotation waits for a peer to leave the slot",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  },
  quietTime: {
    default: 300,
    reason: "what is sent now and then in clear is seen by then",
    help: "how long nothing may go in clear before a node says that it is ready for strict mode",
    value: "TIME",
    parse: duration(1, false),
    show: showDuration,
  },
  napiThreading: {
    default: false,
    reason: "one core does for most nodes; some kernels stall with it",
    help: "handle packets of the kernel's devices in threads of their own",
    value: "on|off",
    parse: onOff,
    show: showOnOff,
  },
  metricsAddress: {
    default: "127.0.0.1:9586",
    reason: "9586 is what exporters for WireGuard listen on; only the node itself sees it",
    help: "where the agent serves metrics and health, or off",
    value: "IP:PORT",
    parse: listenAddress,
  },
  installConfDir: {
    default: "",
    reason: "nobody writes to a runtime's configuration without being told",
    help: "folder of networks that the agent keeps wg-cni in, as `install --keep` says",
    value: "FOLDER",
    parse: (raw) => (raw === "" ? "" : absolutePath(raw)),
  },
  installBinDir: {
    default: "/opt/cni/bin",
    reason: "where runtimes take plugins from unless they are told otherwise",
    help: "folder of plugins that the agent keeps the executable in",
    value: "FOLDER",
    parse: absolutePath,
  },
  installEntry: {
    default: "",
    reason: "an entry that is there stays as it is",
    help: "wg-cni's own keys in the network, as JSON",
    value: "JSON",
    parse: (raw) => (raw === "" ? "" : formatEntry(parseEntry(raw))),
  },
};

export type SettingName = keyof Settings;
export const settingNames = Object.keys(settingTable) as SettingName[];

/**
 * Settings from what the store holds. Throws ParseError naming the setting, so
 * that a value written by another version is explained and not half obeyed.
 */
export function parseSettings(overrides: Readonly<Record<string, unknown>>): Settings {
  const values: { [K in SettingName]?: unknown } = {};
  for (const name of settingNames) values[name] = settingTable[name].default;
  const settings = values as Settings;
  // Every ADD comes by here, mostly without overrides: the defaults do not clash.
  const given = Object.keys(overrides);
  if (given.length === 0) return settings;
  for (const key of given) {
    const name = parseSettingName(key);
    if (overrides[name] !== undefined) values[name] = parseSetting(name, overrides[name]);
  }
  refuseClashes(settings);
  return settings;
}

/** One setting's value from JSON or a flag's text. Throws ParseError that names it. */
export function parseSetting<K extends SettingName>(name: K, raw: unknown): Settings[K] {
  try {
    return settingTable[name].parse(raw) as Settings[K];
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new ParseError(`${name}: ${JSON.stringify(raw)} ${error.message}`);
  }
}

/** The setting called `name`. Throws ParseError with the nearest name. */
export function parseSettingName(name: string): SettingName {
  if (name in settingTable) return name as SettingName;
  const near = suggest(name, settingNames);
  throw new ParseError(
    `there is no setting "${name}"${near === undefined ? "" : `; did you mean "${near}"?`}`,
  );
}

/** A setting's value as a person writes it. */
export function showSetting<K extends SettingName>(name: K, value: Settings[K]): string {
  const { show } = settingTable[name] as Setting<Settings[K]>;
  return show === undefined ? String(value) : show(value);
}

/** True where other nodes hear by themselves of what changes here. */
export function isAnnounced({
  recordsDir,
  kubeconfig,
}: Pick<Settings, "recordsDir" | "kubeconfig">): boolean {
  return recordsDir !== "" || kubeconfig !== "";
}

/** The device that a slot lives on. */
export function slotDevice(settings: Settings, slot: Slot): string {
  return slot === "a" ? settings.deviceA : settings.deviceB;
}

/** The UDP port that a slot listens on. */
export function slotPort(settings: Settings, slot: Slot): number {
  return slot === "a" ? settings.portA : settings.portB;
}

export function formatMark({ mark, mask }: Mark): string {
  return `0x${mark.toString(16)}/0x${mask.toString(16)}`;
}

function refuseClashes(settings: Settings): void {
  const pairs = [
    ["deviceA", "deviceB"],
    ["portA", "portB"],
    ["hostTable", "podTable"],
  ] as const;
  for (const [a, b] of pairs)
    if (settings[a] === settings[b])
      throw new ParseError(`${a} and ${b} must differ, both are ${settings[a]}`);
}
