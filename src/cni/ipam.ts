// The `ipam` section of the configuration: the embedded address management,
// with host-local's keys, or the name of another plugin. Ranges and sets of ranges are in
// ipam/range.ts.
import { parseRangeSets, type Range } from "../ipam/range.ts";
import { ParseError, parseAt } from "../net/error.ts";
import { parsePrefix } from "../net/prefix.ts";
import { findString, getString, isObject, readList, wrongType } from "./json.ts";
import { findIp, optional } from "./result-parse.ts";

export type IpamConf = EmbeddedIpam | DelegatedIpam;

export interface EmbeddedIpam {
  readonly kind: "embedded";
  /** A pod gets one address of each set. Empty: the node's pod CIDRs. */
  readonly ranges: readonly (readonly Range[])[];
  /** If it is empty, each family has a default route. */
  readonly routes: readonly IpamRoute[];
}

export interface IpamRoute {
  readonly dst: string;
  readonly gw?: string;
}

export interface DelegatedIpam {
  readonly kind: "delegate";
  /** File name of the plugin in CNI_PATH. */
  readonly type: string;
}

/** The `ipam.type` of the embedded IPAM; an absent type means the same. */
export const ownType = "wg-cni";

/** Reads `ipam`. Throws ParseError. */
export function parseIpam(value: unknown): IpamConf {
  if (!isObject(value)) throw wrongType("ipam", "an object", value);
  const type = findString(value.type, "ipam.type") ?? ownType;
  if (type.includes("/"))
    throw new ParseError(`ipam.type: "${type}" is a path; it has to be the name of a plugin in CNI_PATH`);
  if (type !== ownType) return { kind: "delegate", type };
  if (value.subnet !== undefined)
    throw new ParseError('ipam.subnet: write it as a range: "ranges": [[{"subnet": …}]]');
  return {
    kind: "embedded",
    ranges: parseRangeSets(value.ranges, "ipam.ranges"),
    routes: readList(value.routes, "ipam.routes").map((route, i) => parseRoute(route, `ipam.routes[${i}]`)),
  };
}

function parseRoute(entry: unknown, path: string): IpamRoute {
  if (!isObject(entry)) throw wrongType(path, "an object", entry);
  const dst = getString(entry.dst, `${path}.dst`);
  return {
    dst: parseAt(`${path}.dst`, () => parsePrefix(dst)),
    ...optional("gw", findIp(entry.gw, `${path}.gw`)),
  };
}
