// Finds the addresses of this node that peers send to, if none was configured:
// those of an interface, those in a network, or if nothing was chosen those
// of the interfaces that the default routes leave by. Pure.
import { familyBits, familyOf } from "../../net/ip.ts";
import type { Address } from "../../net/objects.ts";
import { comparePrefixes, hostPrefix, prefixContains } from "../../net/prefix.ts";
import { specialAddress } from "../../net/special.ts";
import { suggest } from "../../net/suggest.ts";
import type { Settings } from "../settings/settings.ts";

export interface TransportFacts {
  readonly settings: Pick<Settings, "transportInterface" | "transportCIDRs" | "deviceA" | "deviceB">;
  /** Names of all interfaces. */
  readonly links: readonly string[];
  /** Addresses of all interfaces, in the kernel's order: the first IPv4 address of a network is its main one. */
  readonly addresses: readonly Address[];
  /** Interfaces of the main table's default routes, best first. */
  readonly uplinks: readonly string[];
}

export interface Transport {
  /** Best first: IPv4 before IPv6, which takes 20 bytes more of each packet. */
  readonly endpoints: readonly string[];
  /** "eth0, which has the default route". */
  readonly from: string;
}

/** No address fits: a sentence, with the addresses that there are. */
export interface NoTransport {
  readonly problem: string;
}

/** A record may have 64; a peer tries one after the other. */
const maxEndpoints = 16;

/** A TUN or VPN interface counts as any other; our own devices never do: they have the node's addresses too. */
export function findTransport(facts: TransportFacts): Transport | NoTransport {
  const { settings, links, uplinks } = facts;
  const { transportInterface: chosen, transportCIDRs: cidrs } = settings;
  if (chosen !== "" && !links.includes(chosen)) return noSuchInterface(chosen, links);
  if (chosen === "" && cidrs.length === 0 && uplinks.length === 0)
    return { problem: "no default route says which interface leads to the other nodes" };
  const own = [settings.deviceA, settings.deviceB];
  const others = facts.addresses.filter(({ dev }) => !own.includes(dev));
  const devs = chosen !== "" ? [chosen] : cidrs.length === 0 ? uplinks : undefined;
  const there = devs === undefined ? others : others.filter(({ dev }) => devs.includes(dev));
  const inNetworks = placesOfNetworks(there);
  const isMeant = (address: Address) =>
    cidrs.length === 0 ? isMain(address, inNetworks) : isIn(address.ip, cidrs);
  const fitting = there
    .filter((address) => isReachable(address) && isMeant(address))
    .sort((a, b) => compareAddresses(a, b, uplinks));
  const endpoints = [...new Set(fitting.map(({ ip }) => ip))].slice(0, maxEndpoints);
  return endpoints.length === 0
    ? { problem: explainNone(facts, devs, there) }
    : { endpoints, from: explain(settings, devs) };
}

/** Sorts IPv4 before IPv6, then by interface. IPv4's main address comes first; IPv6 addresses, which the kernel shows newest first, get an order that does not change. */
function compareAddresses(a: Address, b: Address, uplinks: readonly string[]): number {
  const [family, other] = [familyOf(a.ip), familyOf(b.ip)];
  if (family !== other) return family - other;
  const byRank = rank(a.dev, uplinks) - rank(b.dev, uplinks);
  if (byRank !== 0 || family === 4) return byRank;
  return comparePrefixes(hostPrefix(a.ip), hostPrefix(b.ip));
}

function rank(dev: string, uplinks: readonly string[]): number {
  const index = uplinks.indexOf(dev);
  return index < 0 ? uplinks.length : index;
}

/** True if another node can send to the address, now and later. */
function isReachable({ ip, scope, caveat }: Address): boolean {
  const passing = caveat !== undefined && caveat !== "secondary";
  return scope === "global" && !passing && specialAddress(ip) === undefined;
}

/**
 * False for a virtual address (keepalived, kube-vip): it was added to a network's main address, or is a
 * /32 beside one. It moves between nodes, so it is an endpoint only if a chosen network contains it. A
 * cloud's single /32 is not virtual.
 */
function isMain(address: Address, inNetworks: ReadonlySet<string>): boolean {
  return address.caveat !== "secondary" && (!isAlone(address) || !inNetworks.has(place(address)));
}

/** Returns the interfaces that have an address with a network around it. */
function placesOfNetworks(addresses: readonly Address[]): Set<string> {
  return new Set(addresses.filter((address) => isReachable(address) && !isAlone(address)).map(place));
}

function isAlone({ ip, length }: Address): boolean {
  return length === familyBits(familyOf(ip));
}

function place({ dev, ip }: Address): string {
  return `${dev} ${familyOf(ip)}`;
}

function isIn(ip: string, cidrs: readonly string[]): boolean {
  return cidrs.some((cidr) => prefixContains(cidr, hostPrefix(ip)));
}

function explain(
  { transportInterface: chosen, transportCIDRs: cidrs }: TransportFacts["settings"],
  devs: readonly string[] | undefined,
): string {
  if (devs === undefined) return `an interface with an address in ${list(cidrs)}`;
  if (chosen !== "") return cidrs.length === 0 ? chosen : `${chosen}, in ${list(cidrs)}`;
  return `${list(devs)}, which ${devs.length === 1 ? "has the default route" : "have default routes"}`;
}

function noSuchInterface(name: string, links: readonly string[]): NoTransport {
  const near = suggest(name, links);
  const there = links.filter((link) => link !== "lo").slice(0, maxEndpoints);
  const hint =
    near === undefined
      ? `there ${there.length === 1 ? "is" : "are"} ${list(there)}`
      : `did you mean ${near}?`;
  return { problem: `there is no interface ${name}; ${there.length === 0 ? "there are none" : hint}` };
}

/** Returns text such as "interface eth1 has no address in 10.0.0.0/8; it has 192.0.2.1". */
function explainNone(
  { settings: { transportCIDRs: cidrs } }: TransportFacts,
  devs: readonly string[] | undefined,
  there: readonly Address[],
): string {
  const what = cidrs.length === 0 ? "that other nodes can reach" : `in ${list(cidrs)}`;
  const shown = there
    .filter(({ scope }) => scope !== "host")
    .map((address) => describe(address, devs?.length !== 1));
  const has = shown.length === 0 ? "none at all" : list(shown.slice(0, maxEndpoints));
  if (devs === undefined) return `no interface has an address ${what}; there is ${has}`;
  if (devs.length > 1) return `none of the interfaces ${list(devs)} has an address ${what}; they have ${has}`;
  return `interface ${devs[0]} has no address ${what}; it has ${has}`;
}

function describe({ ip, dev, caveat }: Address, withDev: boolean): string {
  const special = specialAddress(ip)
    ?.replace(/^an? /, "")
    .replace(/ address$/, "");
  const words = [
    ...(withDev ? [dev] : []),
    ...(special === undefined ? [] : [special]),
    ...(caveat === undefined ? [] : [caveat]),
  ];
  return words.length === 0 ? ip : `${ip} (${words.join(", ")})`;
}

function list(items: readonly string[]): string {
  return items.join(", ");
}

export interface StoredEndpoints {
  readonly endpoints: readonly string[];
  readonly endpointsFound: boolean;
}

/** Returns the endpoints after the next sync; undefined if they stay. `found`: the addresses that are there now. */
export function nextEndpoints(
  { endpoints, endpointsFound }: StoredEndpoints,
  found: Transport | NoTransport,
): readonly string[] | undefined {
  if (!endpointsFound || "problem" in found || sameList(endpoints, found.endpoints)) return undefined;
  return found.endpoints;
}

/** Says in a few words where a node's endpoints come from. */
export function describeEndpoints(stored: StoredEndpoints, found: Transport | NoTransport): string {
  if (!stored.endpointsFound) return "given by --endpoint";
  if ("problem" in found) return `kept from before: ${found.problem}`;
  const next = nextEndpoints(stored, found);
  if (next === undefined) return `found on ${found.from}`;
  return `found before; now ${found.from} has ${list(next)}, which the agent or \`wg-cni sync\` takes`;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
