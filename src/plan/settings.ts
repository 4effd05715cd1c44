// The node's settings: names, bounds and defaults, each with its reason. The
// store keeps only what was set (key and JSON value); everything else is
// derived here, so that `status` can say where a value comes from. Pure.
import { ParseError } from "../net/error.ts";
import type { Exemption } from "../net/exemption.ts";
import type { IpPort } from "../net/ip-port.ts";
import type { Mark } from "../net/objects.ts";
import type { Slot } from "../net/record.ts";
import { suggest } from "../net/suggest.ts";
import type { Setting } from "./setting.ts";
import { settingTable } from "./setting-table.ts";

export type Mode = "off" | "permissive" | "strict";
export type BackendChoice = "auto" | "kernel" | "userspace";
export type PodAddresses = "node" | "pods";

export interface Settings {
  /** Whether traffic takes the tunnel at all, and what happens to what cannot: as without us, or refused. */
  readonly mode: Mode;
  /** Prefixes that hold all pods of the cluster; in strict mode refused as a whole, but for known peers. */
  readonly clusterCIDRs: readonly string[];
  /** Prefixes that hold all nodes; what a peer says of itself counts only in them. Empty: wherever a handshake comes from. */
  readonly nodeCIDRs: readonly string[];
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
  /** Seconds that ADD waits until the others can read of the pod's address, where it is the network's; 0 for not at all. */
  readonly publishWait: number;
  /** Seconds for which a pod's namespace is gone until the agent releases what it had; 0 for never. */
  readonly releaseAfter: number;
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
