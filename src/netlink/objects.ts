// Converts between the kernel's messages (wire/) and the values that all other code uses
// (net/objects.ts). Pure: interface indexes come in and go out as numbers,
// their names are names.ts's.
import type { Family } from "../net/ip.ts";
import type {
  Address,
  AddressCaveat,
  Link,
  Neighbour,
  Route,
  RouteMetrics,
  RouteType,
  Rule,
  Scope,
} from "../net/objects.ts";
import { defaultPrefix } from "../net/prefix.ts";
import {
  type addressMessage,
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_F_SECONDARY,
  IFA_F_TENTATIVE,
} from "../wire/address.ts";
import { addressFamily, findFamily } from "../wire/codec.ts";
import { IFF_UP, type linkMessage } from "../wire/link.ts";
import { NUD_PERMANENT, NUD_REACHABLE, type neighbourMessage } from "../wire/neighbour.ts";
import { RTNH_F_ONLINK, type routeMessage } from "../wire/route.ts";
import { FIB_RULE_INVERT, type ruleMessage } from "../wire/rule.ts";

type Read<M extends { read: (...args: never[]) => unknown }> = ReturnType<M["read"]>;
type Written<M extends { write: (...args: never[]) => unknown }> = Parameters<M["write"]>[1];

/** rtm_type (linux/rtnetlink.h). */
const routeTypes: Record<RouteType, number> = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
};
const routeTypeNames = reversed(routeTypes);

/** rtm_scope, ifa_scope. */
const scopes: Record<Scope, number> = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 };
const scopeNames = reversed(scopes);

/** fib_rule_hdr.action (linux/fib_rules.h). */
const ruleActions: Record<Rule["action"], number> = {
  lookup: 1,
  goto: 2,
  nop: 3,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
};
const ruleActionNames = reversed(ruleActions);

/** Table numbers below this fit in the header as well. */
const firstLongTable = 256;
const allBits = 0xffff_ffff;
/** FRA_SUPPRESS_PREFIXLEN of every rule that suppresses nothing: -1. */
const suppressesNothing = 0xffff_ffff;
const scopeNowhere = scopes.nowhere;

export function toLink(message: Read<typeof linkMessage>): Link {
  return {
    index: message.ifi_index,
    name: message.IFLA_IFNAME ?? "",
    kind: message.IFLA_LINKINFO?.IFLA_INFO_KIND ?? "",
    mtu: message.IFLA_MTU ?? 0,
    up: (message.ifi_flags & IFF_UP) !== 0,
    mac: message.IFLA_ADDRESS ?? "",
    ...(message.IFLA_MASTER === undefined ? {} : { masterIndex: message.IFLA_MASTER }),
    ...(message.IFLA_LINK === undefined ? {} : { linkIndex: message.IFLA_LINK }),
    ...(message.IFLA_LINK_NETNSID === undefined ? {} : { linkNetnsId: message.IFLA_LINK_NETNSID }),
    ...(message.IFLA_GROUP ? { group: message.IFLA_GROUP } : {}),
  };
}

/** Undefined for families that are not IP. */
export function toAddress(message: Read<typeof addressMessage>, dev: string): Address | undefined {
  const ip = message.IFA_LOCAL ?? message.IFA_ADDRESS;
  if (findFamily(message.ifa_family) === undefined || ip === undefined) return undefined;
  const flags = message.IFA_FLAGS ?? message.ifa_flags;
  const caveat = findCaveat(flags, ip.includes(":"));
  return {
    dev,
    ip,
    length: message.ifa_prefixlen,
    scope: scopeNames[message.ifa_scope] ?? "global",
    noPrefixRoute: (flags & IFA_F_NOPREFIXROUTE) !== 0,
    noDad: (flags & IFA_F_NODAD) !== 0,
    ...(caveat === undefined ? {} : { caveat }),
  };
}

/** The worst first: a duplicate is tentative too. */
function findCaveat(flags: number, isIpv6: boolean): AddressCaveat | undefined {
  if ((flags & IFA_F_DADFAILED) !== 0) return "duplicate";
  if ((flags & IFA_F_TENTATIVE) !== 0) return "tentative";
  if ((flags & IFA_F_DEPRECATED) !== 0) return "deprecated";
  if ((flags & IFA_F_SECONDARY) !== 0) return isIpv6 ? "temporary" : "secondary";
  return undefined;
}

export function fromAddress(address: Address, index: number): Written<typeof addressMessage> {
  const flags = (address.noPrefixRoute ? IFA_F_NOPREFIXROUTE : 0) | (address.noDad ? IFA_F_NODAD : 0);
  return {
    ifa_family: addressFamily(address.ip.includes(":") ? 6 : 4),
    ifa_prefixlen: address.length,
    ifa_scope: scopes[address.scope],
    ifa_index: index,
    IFA_LOCAL: address.ip,
    IFA_ADDRESS: address.ip,
    IFA_FLAGS: flags,
  };
}

/** `dev` is the name of RTA_OIF. */
export function toRoute(message: Read<typeof routeMessage>, family: Family, dev: string | undefined): Route {
  const type = toRouteType(message.rtm_type);
  const route: { -readonly [K in keyof Route]: Route[K] } = {
    family,
    table: message.RTA_TABLE ?? message.rtm_table,
    type,
    dst: message.RTA_DST === undefined ? defaultPrefix(family) : `${message.RTA_DST}/${message.rtm_dst_len}`,
    scope: scopeNames[message.rtm_scope] ?? "global",
    protocol: message.rtm_protocol,
  };
  // IPv6 routes that lead nowhere show the loopback device, although they were added without one.
  if (dev !== undefined && !leadsNowhere(type)) route.dev = dev;
  if (message.rtm_tos !== 0) route.tos = message.rtm_tos;
  const via = message.RTA_GATEWAY ?? message.RTA_VIA;
  if (via !== undefined) route.via = via;
  if (message.RTA_PREFSRC !== undefined) route.src = message.RTA_PREFSRC;
  if (message.RTA_PRIORITY !== undefined) route.priority = message.RTA_PRIORITY;
  const metrics = toMetrics(message.RTA_METRICS);
  if (metrics !== undefined) route.metrics = metrics;
  if ((message.rtm_flags & RTNH_F_ONLINK) !== 0) route.onlink = true;
  return route;
}

export function fromRoute(route: Route, index: number | undefined): Written<typeof routeMessage> {
  const sameFamily = route.via !== undefined && route.via.includes(":") === (route.family === 6);
  return {
    ...routeHeader(route),
    rtm_flags: route.onlink ? RTNH_F_ONLINK : 0,
    RTA_DST: destination(route),
    RTA_TABLE: route.table,
    RTA_PRIORITY: route.priority,
    RTA_PREFSRC: route.src,
    RTA_METRICS: fromMetrics(route.metrics),
    RTA_GATEWAY: sameFamily ? route.via : undefined,
    RTA_VIA: sameFamily ? undefined : route.via,
    RTA_OIF: index,
  };
}

/** rtm_type of a type of routes. */
export function fromRouteType(type: RouteType): number {
  return routeTypes[type];
}

/** The type that an rtm_type is. */
export function toRouteType(type: number): RouteType {
  return routeTypeNames[type] ?? "unicast";
}

/** The attributes that identify a route to RTM_DELROUTE; an absent one matches anything. */
export function fromRouteToDelete(route: Route, index: number | undefined): Written<typeof routeMessage> {
  const { RTA_DST, RTA_TABLE, RTA_PRIORITY, RTA_GATEWAY, RTA_VIA, RTA_OIF } = fromRoute(route, index);
  const header = { ...routeHeader(route), rtm_scope: scopeNowhere };
  return { ...header, RTA_DST, RTA_TABLE, RTA_PRIORITY, RTA_GATEWAY, RTA_VIA, RTA_OIF };
}

/** Undefined for families that are not IP. */
export function toRule(message: Read<typeof ruleMessage>): Rule | undefined {
  const family = findFamily(message.family);
  if (family === undefined) return undefined;
  const action = ruleActionNames[message.action] ?? "nop";
  const rule: { -readonly [K in keyof Rule]: Rule[K] } = {
    family,
    priority: message.FRA_PRIORITY ?? 0,
    action,
    invert: (message.flags & FIB_RULE_INVERT) !== 0,
    protocol: message.FRA_PROTOCOL ?? 0,
  };
  if (action === "lookup") rule.table = message.FRA_TABLE ?? message.table;
  if (message.FRA_GOTO !== undefined) rule.target = message.FRA_GOTO;
  if (message.FRA_FWMARK !== undefined || message.FRA_FWMASK !== undefined)
    rule.fwmark = { mark: message.FRA_FWMARK ?? 0, mask: message.FRA_FWMASK ?? allBits };
  if (message.FRA_IIFNAME !== undefined) rule.iif = message.FRA_IIFNAME;
  if (message.FRA_OIFNAME !== undefined) rule.oif = message.FRA_OIFNAME;
  if (message.FRA_SRC !== undefined) rule.src = `${message.FRA_SRC}/${message.src_len}`;
  if (message.FRA_DST !== undefined) rule.dst = `${message.FRA_DST}/${message.dst_len}`;
  if (hasOtherSelectors(message)) rule.hasOtherSelectors = true;
  return rule;
}

/** `message` has to have been read with its unknown attributes. */
function hasOtherSelectors(message: Read<typeof ruleMessage>): boolean {
  const { tos, FRA_SUPPRESS_PREFIXLEN: suppressed, unknown } = message;
  return tos !== 0 || (suppressed !== undefined && suppressed !== suppressesNothing) || unknown !== undefined;
}

export function fromRule(rule: Rule): Written<typeof ruleMessage> {
  const [src, srcLength] = splitPrefix(rule.src);
  const [dst, dstLength] = splitPrefix(rule.dst);
  return {
    family: addressFamily(rule.family),
    src_len: srcLength,
    dst_len: dstLength,
    table: shortTable(rule.table ?? 0),
    action: ruleActions[rule.action],
    flags: rule.invert ? FIB_RULE_INVERT : 0,
    FRA_PRIORITY: rule.priority,
    FRA_SRC: src,
    FRA_DST: dst,
    FRA_IIFNAME: rule.iif,
    FRA_OIFNAME: rule.oif,
    FRA_FWMARK: rule.fwmark?.mark,
    FRA_FWMASK: rule.fwmark?.mask,
    FRA_TABLE: rule.table,
    FRA_GOTO: rule.target,
    FRA_PROTOCOL: rule.protocol,
  };
}

/** Undefined for entries that are not of an IP address. */
export function toNeighbour(message: Read<typeof neighbourMessage>, dev: string): Neighbour | undefined {
  if (findFamily(message.ndm_family) === undefined || message.NDA_DST === undefined) return undefined;
  const permanent = (message.ndm_state & NUD_PERMANENT) !== 0;
  return { dev, ip: message.NDA_DST, mac: message.NDA_LLADDR ?? "", permanent };
}

export function fromNeighbour(neighbour: Neighbour, index: number): Written<typeof neighbourMessage> {
  return {
    ndm_family: addressFamily(neighbour.ip.includes(":") ? 6 : 4),
    ndm_ifindex: index,
    ndm_state: neighbour.permanent ? NUD_PERMANENT : NUD_REACHABLE,
    NDA_DST: neighbour.ip,
    NDA_LLADDR: neighbour.mac,
  };
}

function routeHeader(route: Route): Written<typeof routeMessage> {
  return {
    rtm_family: addressFamily(route.family),
    rtm_dst_len: prefixLength(route.dst),
    rtm_tos: route.tos ?? 0,
    rtm_table: shortTable(route.table),
    rtm_protocol: route.protocol,
    rtm_scope: scopes[route.scope],
    rtm_type: routeTypes[route.type],
  };
}

/** The default route has no RTA_DST. */
function destination(route: Route): string | undefined {
  return prefixLength(route.dst) === 0 ? undefined : splitPrefix(route.dst)[0];
}

function toMetrics(found: { RTAX_MTU?: number | undefined; RTAX_ADVMSS?: number | undefined } | undefined) {
  if (found?.RTAX_MTU === undefined && found?.RTAX_ADVMSS === undefined) return undefined;
  const metrics: { mtu?: number; advmss?: number } = {};
  if (found.RTAX_MTU !== undefined) metrics.mtu = found.RTAX_MTU;
  if (found.RTAX_ADVMSS !== undefined) metrics.advmss = found.RTAX_ADVMSS;
  return metrics;
}

function fromMetrics(metrics: RouteMetrics | undefined) {
  if (metrics?.mtu === undefined && metrics?.advmss === undefined) return undefined;
  return { RTAX_MTU: metrics.mtu, RTAX_ADVMSS: metrics.advmss };
}

function leadsNowhere(type: RouteType): boolean {
  return type === "blackhole" || type === "unreachable" || type === "prohibit" || type === "throw";
}

function shortTable(table: number): number {
  return table < firstLongTable ? table : 0;
}

function prefixLength(prefix: string): number {
  return Number(prefix.slice(prefix.indexOf("/") + 1));
}

function splitPrefix(prefix: string | undefined): [ip: string | undefined, length: number] {
  if (prefix === undefined) return [undefined, 0];
  return [prefix.slice(0, prefix.indexOf("/")), prefixLength(prefix)];
}

function reversed<Name extends string>(numbers: Record<Name, number>): (Name | undefined)[] {
  const names: (Name | undefined)[] = [];
  for (const name in numbers) names[numbers[name]] = name;
  return names;
}
