// Results of CNI plugins have one internal shape, that of specification 1.1.0, and are written in
// every version. They are read by result-parse.ts. A chained plugin's result is not written anew but
// passed on as it came.

import { type CniVersion, versionAtLeast } from "../net/cni-version.ts";
import { familyOf } from "../net/ip.ts";
import type { JsonObject } from "./json.ts";

export interface Result {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
  readonly dns: Dns;
}

/** The result of the previous plugin, with the JSON value that it was read from. */
export interface PrevResult extends Result {
  readonly json: JsonObject;
  readonly version: CniVersion;
}

export interface ResultInterface {
  readonly name: string;
  /** The text that the plugin wrote; cloud plugins put other things than a MAC here. */
  readonly mac?: string;
  /** Absent for interfaces of the host; else mostly, not always, a path. */
  readonly sandbox?: string;
  /** From 1.1.0 on, as the two after it. */
  readonly mtu?: number;
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface ResultIp {
  /** Canonical address with the length of its network, host bits kept: "10.1.2.3/24". */
  readonly address: string;
  readonly gateway?: string;
  /** An index in `interfaces`, which may be out of range. */
  readonly interface?: number;
}

export interface ResultRoute {
  readonly dst: string;
  readonly gw?: string;
  /** From 1.1.0 on, as all after it. */
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  /** 0 (RT_TABLE_UNSPEC) differs from absent, as does scope 0 (global). */
  readonly table?: number;
  readonly scope?: number;
}

export interface Dns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** Returns the JSON text of a result in the shape of `version`. */
export function formatResult(result: Result, version: CniVersion): string {
  if (!versionAtLeast(version, "0.3.0")) return formatLegacy(result, version);
  const newest = versionAtLeast(version, "1.1.0");
  const withVersions = !versionAtLeast(version, "1.0.0");
  return JSON.stringify({
    cniVersion: version,
    interfaces: unlessEmpty(newest ? result.interfaces : result.interfaces.map(plainInterface)),
    ips: unlessEmpty(withVersions ? result.ips.map((ip) => ({ version: ipVersion(ip), ...ip })) : result.ips),
    routes: unlessEmpty(newest ? result.routes : result.routes.map(plainRoute)),
    dns: result.dns,
  });
}

/**
 * Returns the text that a chained plugin prints: the previous result, unchanged to the last unknown
 * key. Only a result of another version than the configuration's is written anew, because libcni
 * promises the next plugin the configuration's version.
 */
export function formatPrevResult(previous: PrevResult, version: CniVersion): string {
  if (previous.version !== version) return formatResult(previous, version);
  return JSON.stringify({ cniVersion: version, ...previous.json });
}

/** Returns the pod's addresses, canonical, without lengths or duplicates. */
export function podIps(result: Result, ifname: string): string[] {
  // Lists of one or two entries are used, because the first Set of a process takes 0.05 ms.
  const inPod: string[] = [];
  const all: string[] = [];
  for (const ip of result.ips) {
    const address = ip.address.slice(0, ip.address.indexOf("/"));
    if (!all.includes(address)) all.push(address);
    if (!isHostSide(result, ip, ifname) && !inPod.includes(address)) inPod.push(address);
  }
  // A plugin that names only its host interface still means the pod by "ips".
  return inPod.length > 0 ? inPod : all;
}

/** True if the result says that an address is on an interface of the host. */
function isHostSide(result: Result, ip: ResultIp, ifname: string): boolean {
  const owner = ip.interface === undefined ? undefined : result.interfaces[ip.interface];
  return owner !== undefined && owner.sandbox === undefined && owner.name !== ifname;
}

/** 0.1.0 and 0.2.0 have room for one address of each family; later ones are dropped, as libcni does. */
function formatLegacy(result: Result, version: CniVersion): string {
  const config = (family: 4 | 6) => {
    const first = result.ips.find(({ address }) => familyOf(address) === family);
    if (first === undefined) return undefined;
    const routes = result.routes.filter(({ dst }) => familyOf(dst) === family);
    return { ip: first.address, gateway: first.gateway, routes: unlessEmpty(routes.map(plainRoute)) };
  };
  return JSON.stringify({ cniVersion: version, ip4: config(4), ip6: config(6), dns: result.dns });
}

function plainInterface({ name, mac, sandbox }: ResultInterface): object {
  return { name, mac, sandbox };
}

function plainRoute({ dst, gw }: ResultRoute): object {
  return { dst, gw };
}

function ipVersion(ip: ResultIp): string {
  return String(familyOf(ip.address));
}

/** Go's omitempty: JSON.stringify leaves undefined out. */
function unlessEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined;
}
