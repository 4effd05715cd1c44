// Reads results of CNI plugins of every version into the shape of 1.1.0. It is strict about types, and
// names the path of the wrong value. It is lenient about values that it does not need: results of
// cloud plugins have no sandboxes, no interface indexes, and invalid MACs. Keys that a version does
// not know are skipped.

import { type CniVersion, isSupported, supportedVersions, versionAtLeast } from "../net/cni-version.ts";
import { ParseError, parseAt } from "../net/error.ts";
import { parseIp } from "../net/ip.ts";
import { parseInterfaceAddress, parsePrefix } from "../net/prefix.ts";
import {
  findInteger,
  findString,
  findStrings,
  getString,
  isObject,
  type JsonObject,
  readList,
  readObject,
  wrongType,
} from "./json.ts";
import type { Dns, PrevResult, Result, ResultInterface, ResultIp, ResultRoute } from "./result.ts";

const maxUint32 = 0xffff_ffff;

/** Reads a result. If it has no cniVersion, it is of `version`. Throws ParseError naming the key below `path`. */
export function parseResult(value: unknown, version: CniVersion, path: string): PrevResult {
  if (!isObject(value)) throw wrongType(path, "an object", value);
  const own = findString(value.cniVersion, `${path}.cniVersion`) ?? version;
  if (!isSupported(own))
    throw new ParseError(
      `${path}.cniVersion: version "${own}" is not supported (supported are ${supportedVersions.join(", ")})`,
    );
  const result = versionAtLeast(own, "0.3.0") ? parseCurrent(value, own, path) : parseLegacy(value, path);
  return { ...result, json: value, version: own };
}

/** Reads a result of 0.3.0 and later. */
function parseCurrent(value: JsonObject, version: CniVersion, path: string): Result {
  const newest = versionAtLeast(version, "1.1.0");
  return {
    interfaces: readList(value.interfaces, `${path}.interfaces`).map((entry, i) =>
      parseInterface(entry, newest, `${path}.interfaces[${i}]`),
    ),
    ips: readList(value.ips, `${path}.ips`).map((entry, i) => parseIpEntry(entry, `${path}.ips[${i}]`)),
    routes: parseRoutes(value.routes, newest, `${path}.routes`),
    dns: parseDns(value.dns, `${path}.dns`),
  };
}

/** Reads a result of 0.1.0 and 0.2.0: one address for each family, each with its routes. */
function parseLegacy(value: JsonObject, path: string): Result {
  const ips: ResultIp[] = [];
  const routes: ResultRoute[] = [];
  for (const key of ["ip4", "ip6"]) {
    if (value[key] === undefined || value[key] === null) continue;
    const config = readObject(value[key], `${path}.${key}`);
    ips.push(parseAddress(config.ip, config.gateway, `${path}.${key}.ip`, `${path}.${key}.gateway`));
    routes.push(...parseRoutes(config.routes, false, `${path}.${key}.routes`));
  }
  return { interfaces: [], ips, routes, dns: parseDns(value.dns, `${path}.dns`) };
}

function parseInterface(entry: unknown, newest: boolean, path: string): ResultInterface {
  if (!isObject(entry)) throw wrongType(path, "an object", entry);
  const plain = {
    name: getString(entry.name, `${path}.name`),
    ...optional("mac", findString(entry.mac, `${path}.mac`)),
    ...optional("sandbox", findString(entry.sandbox, `${path}.sandbox`)),
  };
  if (!newest) return plain;
  return {
    ...plain,
    ...optional("mtu", findInteger(entry.mtu, `${path}.mtu`, 0, maxUint32)),
    ...optional("socketPath", findString(entry.socketPath, `${path}.socketPath`)),
    ...optional("pciID", findString(entry.pciID, `${path}.pciID`)),
  };
}

function parseIpEntry(entry: unknown, path: string): ResultIp {
  if (!isObject(entry)) throw wrongType(path, "an object", entry);
  const index = findInteger(entry.interface, `${path}.interface`, Number.MIN_SAFE_INTEGER, maxUint32);
  return {
    ...optional("interface", index),
    ...parseAddress(entry.address, entry.gateway, `${path}.address`, `${path}.gateway`),
  };
}

function parseAddress(address: unknown, gateway: unknown, path: string, gatewayPath: string): ResultIp {
  const text = getString(address, path);
  const { ip, length } = parseAt(path, () => parseInterfaceAddress(text));
  return { address: `${ip}/${length}`, ...optional("gateway", findIp(gateway, gatewayPath)) };
}

function parseRoutes(value: unknown, newest: boolean, path: string): ResultRoute[] {
  return readList(value, path).map((entry, i) => parseRoute(entry, newest, `${path}[${i}]`));
}

/** Reads a route, and its metrics if the version has them (1.1.0). */
function parseRoute(entry: unknown, newest: boolean, path: string): ResultRoute {
  if (!isObject(entry)) throw wrongType(path, "an object", entry);
  const dst = getString(entry.dst, `${path}.dst`);
  const plain = {
    dst: parseAt(`${path}.dst`, () => parsePrefix(dst)),
    ...optional("gw", findIp(entry.gw, `${path}.gw`)),
  };
  if (!newest) return plain;
  const integer = (key: string) => findInteger(entry[key], `${path}.${key}`, 0, maxUint32);
  return {
    ...plain,
    ...optional("mtu", integer("mtu")),
    ...optional("advmss", integer("advmss")),
    ...optional("priority", integer("priority")),
    ...optional("table", integer("table")),
    ...optional("scope", integer("scope")),
  };
}

/** Reads `dns` of a result or of the configuration, which have the same keys. */
export function parseDns(value: unknown, path: string): Dns {
  if (value === undefined || value === null) return {};
  const dns = readObject(value, path);
  return {
    ...optional("nameservers", findStrings(dns.nameservers, `${path}.nameservers`)),
    ...optional("domain", findString(dns.domain, `${path}.domain`)),
    ...optional("search", findStrings(dns.search, `${path}.search`)),
    ...optional("options", findStrings(dns.options, `${path}.options`)),
  };
}

/** Returns the canonical form of an address, or undefined if it is absent. */
export function findIp(value: unknown, path: string): string | undefined {
  const text = findString(value, path);
  return text === undefined ? undefined : parseAt(path, () => parseIp(text));
}

/** Returns `{key: value}`, or `{}` if the value is absent, so that absent properties stay absent. */
export function optional<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]?: V });
}
