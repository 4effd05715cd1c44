// The parser reads the network configuration that a runtime sends on stdin. It works in
// two steps, as the reference library does: the head (JSON, name, version) decides
// whether the call can go on, and the rest depends on the verb. On DEL and GC a wrong
// value is a warning, because resources that ADD made under an older configuration must
// still be removed.

import { type CniVersion, isSupported, supportedVersions, versionWhenMissing } from "../net/cni-version.ts";
import { ParseError, parseAt } from "../net/error.ts";
import { parseIp } from "../net/ip.ts";
import { parseMac } from "../net/mac.ts";
import { parseInterfaceAddress } from "../net/prefix.ts";
import { defaultStateDir } from "../net/state-dir.ts";
import { isCniName } from "./env.ts";
import { CniError } from "./error.ts";
import { type IpamConf, parseIpam } from "./ipam.ts";
import {
  findInteger,
  findString,
  getString,
  isObject,
  type JsonObject,
  readList,
  readObject,
  wrongType,
} from "./json.ts";
import type { Dns, PrevResult } from "./result.ts";
import { optional, parseDns, parseResult } from "./result-parse.ts";
import { unknownKeys } from "./unknown-keys.ts";

/** Bounds of `mtu`: the size that every IPv4 host must accept (RFC 791), and the largest of a veth (ETH_MAX_MTU). */
export const minMtu = 576;
export const maxMtu = 65_535;

export interface NetConf {
  readonly cniVersion: CniVersion;
  readonly name: string;
  readonly type: string;
  /**
   * "chained": another plugin made the interface. "standalone": wg-cni makes it. ADD and CHECK use
   * this role; DEL and GC use the role that ADD recorded.
   */
  readonly role: "chained" | "standalone";
  readonly stateDir: string;
  /** If it is absent, it is derived from the egress route. */
  readonly mtu?: number;
  readonly ipam?: IpamConf;
  readonly dns?: Dns;
  readonly prevResult?: PrevResult;
  readonly requested: Requested;
  /** Only GC has the list. If it is absent, the caller gave none, and GC deletes nothing. */
  readonly validAttachments?: readonly AttachmentRef[];
  /** The unchanged text of stdin, for delegates. */
  readonly raw: string;
  readonly warnings: readonly string[];
}

/** The caller requests these values for the container, in canonical form: runtimeConfig before args.cni before CNI_ARGS. */
export interface Requested {
  readonly ips: readonly string[];
  readonly mac?: string;
}

export interface AttachmentRef {
  readonly containerID: string;
  readonly ifname: string;
}

/** The head is the part of a configuration that is checked before the verb. */
export interface ConfHead {
  readonly raw: string;
  readonly json: JsonObject;
  readonly name: string;
  readonly cniVersion: CniVersion;
}

/** Decodes stdin. Throws CniError: 6 no JSON object, 7 name, 1 version; in this order. */
export function parseHead(raw: string): ConfHead {
  const json = decode(raw);
  const name = headString(json, "name") ?? "";
  if (name === "") throw new CniError("invalidConfig", "missing network name");
  if (!isCniName(name))
    throw new CniError("invalidConfig", "invalid characters found in network name", { details: name });
  const cniVersion = headString(json, "cniVersion") ?? versionWhenMissing;
  if (!isSupported(cniVersion)) {
    const supported = supportedVersions.map((version) => JSON.stringify(version)).join(" ");
    const details = `config is ${JSON.stringify(cniVersion)}, plugin supports [${supported}]`;
    throw new CniError("incompatibleVersion", "incompatible CNI versions", { details });
  }
  return { raw, json, name, cniVersion };
}

/** Reads the rest of the configuration. Throws CniError: 7 naming the key, 2 for a key that wg-cni must not ignore. */
export function parseConf(head: ConfHead, command: string, args: ReadonlyMap<string, string>): NetConf {
  try {
    const conf = readConf(head, command, args);
    checkRole(conf, command);
    return conf;
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    const msg = `Cannot use the configuration of network "${head.name}": ${error.message}`;
    throw new CniError("invalidConfig", msg, { cause: error });
  }
}

function readConf(head: ConfHead, command: string, args: ReadonlyMap<string, string>): NetConf {
  const { json, raw, name, cniVersion } = head;
  const warnings = command === "ADD" ? unknownKeys(json) : [];
  const lenient = command === "DEL" || command === "GC";
  // Absent values cost no call: every function that runs for the first time costs some microseconds.
  const read = <T>(value: unknown, parse: (value: unknown) => T): T | undefined => {
    if (value === undefined || value === null) return undefined;
    try {
      return parse(value);
    } catch (error) {
      if (!lenient || !(error instanceof ParseError)) throw error;
      warnings.push(`Ignored on ${command}: ${error.message}`);
      return undefined;
    }
  };
  const mtu = read(json.mtu, parseMtu);
  const ipam = read(json.ipam, parseIpam);
  const dns = read(json.dns, (value) => parseDns(value, "dns"));
  const prevResult = read(json.prevResult, (value) => parseResult(value, cniVersion, "prevResult"));
  const asks = isSet(json.runtimeConfig) || isSet(json.args) || args.has("IP") || args.has("MAC");
  const requested = (asks ? read(json, () => parseRequested(json, args)) : undefined) ?? { ips: [] };
  const validAttachments = command === "GC" ? parseAttachments(json) : undefined;
  if (command === "ADD") refuseUnsupported(json);
  return {
    cniVersion,
    name,
    type: findString(json.type, "type") ?? "wg-cni",
    role: isSet(json.ipam) ? "standalone" : "chained",
    stateDir: parseStateDir(json.stateDir),
    ...optional("mtu", mtu),
    ...optional("ipam", ipam),
    ...optional("dns", dns),
    ...optional("prevResult", prevResult),
    requested,
    ...optional("validAttachments", validAttachments),
    raw,
    warnings,
  };
}

/** ADD has to know which plugin makes the interface; CHECK has to know the result of ADD. */
function checkRole({ role, prevResult }: NetConf, command: string): void {
  if (command === "CHECK" && prevResult === undefined)
    throw new ParseError(
      "prevResult is missing: CHECK needs the result of ADD, which the runtime has to pass",
    );
  if (command !== "ADD") return;
  if (role === "standalone" && prevResult !== undefined)
    throw new ParseError(
      'it has "ipam" and also the result of a plugin before wg-cni: remove "ipam" to encrypt the pods of that ' +
        "plugin, or remove that plugin to have wg-cni make the interfaces",
    );
  if (role === "chained" && prevResult === undefined)
    throw new ParseError(
      'it has neither "ipam" nor the result of a plugin before wg-cni: put {"type": "wg-cni"} after the plugin ' +
        'that makes the interfaces, or add "ipam": {} to have wg-cni make them',
    );
}

function decode(raw: string): JsonObject {
  let json: unknown;
  try {
    json = JSON.parse(raw);
  } catch (error) {
    const why = raw === "" ? "stdin is empty" : (error as Error).message;
    throw new CniError("decode", `Cannot decode the network configuration: ${why}`, { cause: error });
  }
  if (!isObject(json))
    throw new CniError("decode", "Cannot decode the network configuration: it is not a JSON object");
  return json;
}

/** Name and version of a wrong type fail to decode (6), as in the reference library; all else is invalid (7). */
function headString(json: JsonObject, key: string): string | undefined {
  try {
    return findString(json[key], key);
  } catch (error) {
    throw new CniError("decode", `Cannot decode the network configuration: ${(error as Error).message}`);
  }
}

/** Templates write "not set" as 0. */
function parseMtu(value: unknown): number | undefined {
  return value === 0 ? undefined : findInteger(value, "mtu", minMtu, maxMtu);
}

function parseStateDir(value: unknown): string {
  const path = findString(value, "stateDir") ?? defaultStateDir;
  if (!path.startsWith("/") || path.includes("\0"))
    throw new ParseError(`stateDir: ${JSON.stringify(path)} is not an absolute path`);
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

function parseRequested(json: JsonObject, args: ReadonlyMap<string, string>): Requested {
  const runtime = readObject(json.runtimeConfig, "runtimeConfig");
  const own = readObject(readObject(json.args, "args").cni, "args.cni");
  const envIps = args.get("IP")?.split(",");
  const ips: readonly [unknown, string] = isSet(runtime.ips)
    ? [runtime.ips, "runtimeConfig.ips"]
    : isSet(own.ips)
      ? [own.ips, "args.cni.ips"]
      : [envIps, "CNI_ARGS: IP"];
  const mac: readonly [unknown, string] = isSet(runtime.mac)
    ? [runtime.mac, "runtimeConfig.mac"]
    : isSet(own.mac)
      ? [own.mac, "args.cni.mac"]
      : [args.get("MAC"), "CNI_ARGS: MAC"];
  const macText = findString(...mac);
  return {
    ips: readList(...ips).map((entry, i) => parseRequestedIp(entry, `${ips[1]}[${i}]`)),
    ...optional("mac", macText === undefined ? undefined : parseAt(mac[1], () => parseMac(macText))),
  };
}

/** Parses an address with or without a length, because the convention for capabilities allows both. */
function parseRequestedIp(entry: unknown, path: string): string {
  const text = getString(entry, path);
  return parseAt(path, () => (text.includes("/") ? parseInterfaceAddress(text).ip : parseIp(text)));
}

/** libcni sends the second key beside the first one, because the specification had a wrong name. */
function parseAttachments(json: JsonObject): readonly AttachmentRef[] | undefined {
  for (const key of ["cni.dev/valid-attachments", "cni.dev/attachments"]) {
    if (!isSet(json[key])) continue;
    return readList(json[key], key).map((entry, i) => {
      const path = `${key}[${i}]`;
      if (!isObject(entry)) throw wrongType(path, "an object", entry);
      return {
        containerID: getString(entry.containerID, `${path}.containerID`),
        ifname: getString(entry.ifname, `${path}.ifname`),
      };
    });
  }
  return undefined;
}

/** Rejects keys that would leave the pod without a requested feature if they were ignored. */
function refuseUnsupported(json: JsonObject): void {
  if (json.ipMasq === true)
    throw new CniError(
      "unsupportedField",
      "ipMasq: true is not supported: wg-cni does not masquerade; remove the key and masquerade on the node",
    );
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}
