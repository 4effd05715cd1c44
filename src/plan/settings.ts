// The node's settings: names, bounds and defaults, each with its reason. The
// store keeps only what was set (key and JSON value); everything else is
// derived here, so that `status` can say where a value comes from. Pure.
import { ParseError } from "../net/error.ts";
import type { Mark } from "../net/objects.ts";
import { comparePrefixes, parsePrefix } from "../net/prefix.ts";
import type { Slot } from "../net/record.ts";
import { suggest } from "../net/suggest.ts";

export type Mode = "permissive" | "strict";
export type BackendChoice = "auto" | "kernel" | "userspace";

export interface Settings {
  /** What happens to traffic for a peer that cannot be encrypted: as without us, or refused. */
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
}

interface Setting<T> {
  readonly default: T;
  /** Why the default is what it is; shown by `--help` and `status --json`. */
  readonly reason: string;
  readonly help: string;
  /** Placeholder for the value in `--help`. */
  readonly value: string;
  /** From JSON or a flag's text to the value; throws ParseError with "must be …". */
  readonly parse: (raw: unknown) => T;
  /** The value as a person writes it on the command line. */
  readonly show?: (value: T) => string;
}

type SettingTable = { readonly [K in keyof Settings]: Setting<Settings[K]> };

export const settingTable: SettingTable = {
  mode: {
    default: "permissive",
    reason: "encryption can be rolled out node by node without losing a packet",
    help: "what happens to pods of a peer that has no key: clear text (permissive) or refusal (strict)",
    value: "permissive|strict",
    parse: oneOf("permissive", "strict"),
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
    reason: "the uplink's MTU less the tunnel's 60 bytes (IPv4) or 80 (IPv6)",
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
    parse: (raw) => {
      if (typeof raw !== "string" || !raw.startsWith("/")) throw new ParseError("must be an absolute path");
      return raw;
    },
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

function device(name: string, slot: Slot): Setting<string> {
  return {
    default: name,
    reason: "names the owner and the slot",
    help: `name of the WireGuard device of slot ${slot}`,
    value: "NAME",
    parse: (raw) => {
      if (typeof raw !== "string" || !/^[^\s/:.]{1,15}$/.test(raw))
        throw new ParseError(
          "must be an interface name of 1 to 15 characters, without space, dot, slash or colon",
        );
      return raw;
    },
  };
}

function port(number: number, slot: Slot, reason: string): Setting<number> {
  return {
    default: number,
    reason,
    help: `UDP port of slot ${slot}`,
    value: "PORT",
    parse: integer(1, 65535),
  };
}

function table(number: number, help: string): Setting<number> {
  const parse = (raw: unknown) => {
    const id = integer(1, 0xffffffff)(raw);
    if (id >= 253 && id <= 255) throw new ParseError("must not be 253, 254 or 255: the kernel's own tables");
    return id;
  };
  return {
    default: number,
    reason: "far from the ranges CNIs and distributions use",
    help,
    value: "N",
    parse,
  };
}

function oneOf<T extends string>(...choices: readonly T[]): (raw: unknown) => T {
  return (raw) => {
    if (choices.includes(raw as T)) return raw as T;
    throw new ParseError(`must be ${choices.join(" or ")}`);
  };
}

function integer(min: number, max: number): (raw: unknown) => number {
  return (raw) => {
    const value = typeof raw === "string" && /^(0x[0-9a-fA-F]+|[0-9]+)$/.test(raw) ? Number(raw) : raw;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
      throw new ParseError(`must be a whole number from ${min} to ${max}`);
    return value;
  };
}

function parseMark(raw: unknown): Mark {
  if (typeof raw === "object" && raw !== null && "mark" in raw && "mask" in raw)
    return parseMark(`${raw.mark}/${raw.mask}`);
  const [markText, maskText, extra] = String(raw).split("/");
  const bits = integer(1, 0xffffffff);
  try {
    const mark = bits(markText);
    const mask = maskText === undefined ? mark : bits(maskText);
    if (extra === undefined && (mark & ~mask) === 0) return { mark, mask };
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
  }
  throw new ParseError(
    "must be MARK/MASK, for example 0x100000/0x100000, the mark within the mask and not 0",
  );
}

function cidrList(raw: unknown): readonly string[] {
  const items = typeof raw === "string" ? raw.split(",").filter((item) => item !== "") : raw;
  if (!Array.isArray(items)) throw new ParseError("must be a list of CIDRs");
  return items.map((item) => parsePrefix(String(item))).sort(comparePrefixes);
}
