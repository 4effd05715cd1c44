// Observes the connection between a pod and its node in the kernel, for the decisions of
// plan/pods/far-end.ts. Some messages for a pod that is routed, a few more for one on a bridge.
import { closeFd } from "../linux/file.ts";
import { openNetns } from "../linux/netns.ts";
import { familyOf } from "../net/ip.ts";
import type { Link } from "../net/objects.ts";
import { defaultPrefix } from "../net/prefix.ts";
import { readMainRoutes } from "../netlink/mtu.ts";
import type { Rtnl } from "../netlink/rtnl.ts";
import { findUplinks } from "../netlink/uplinks.ts";
import { type PodConnection, pairKinds, type RouteBack } from "../plan/pods/far-end.ts";
import type { Settings } from "../plan/settings/settings.ts";

export interface PodPlace {
  readonly netns: string;
  readonly ifname: string;
  readonly ips: readonly string[];
}

/** `pod`: its namespace, entered. Throws NetlinkError, SysError. */
export function observePodConnection(
  host: Rtnl,
  pod: Rtnl,
  settings: Settings,
  place: PodPlace,
): PodConnection {
  const { ifname, ips } = place;
  const link = pod.findLink(ifname);
  const end = link === undefined ? undefined : findEnd(host, link, place.netns);
  const nothing = { gateways: [], routes: [] };
  if (link === undefined) return { ifname, ...nothing };
  if (end === undefined) return { ifname, link, ...nothing };
  const routes = routesBack(host, settings, ips);
  const master = end.masterIndex === undefined ? undefined : host.findLinkAt(end.masterIndex);
  const gateways = master === undefined ? [] : findGateways(host, settings, pod, ifname);
  const isAside = routes.some(({ dev, isNode }) => !isNode && dev !== end.name && dev !== master?.name);
  return {
    ...{ ifname, link, end, routes, gateways },
    ...(master === undefined ? {} : { master }),
    ...(master !== undefined && gateways.length === 0 ? { portKinds: portKinds(host, master) } : {}),
    ...(isAside ? { uplinks: findUplinks(host) } : {}),
  };
}

/**
 * The node's end of a pod's interface; undefined if that is none of a pair that ends here. The indexes of
 * the two ends name each other, and so do the namespaces: indexes alone are the same everywhere. Throws
 * NetlinkError, SysError.
 */
export function findEnd(host: Rtnl, link: Link, netns: string): Link | undefined {
  if (!pairKinds.includes(link.kind) || link.linkIndex === undefined) return undefined;
  const end = host.findLinkAt(link.linkIndex);
  if (end?.kind !== link.kind || end.linkIndex !== link.index || end.linkNetnsId === undefined)
    return undefined;
  const fd = openNetns(netns);
  try {
    return host.netnsId(fd) === end.linkNetnsId ? end : undefined;
  } finally {
    closeFd(fd);
  }
}

/** Past our own tables, as encrypted packets go: those may have the pod behind the tunnel still. */
function routesBack(host: Rtnl, { fwmark }: Settings, ips: readonly string[]): RouteBack[] {
  return host.lookUpRoutes(ips, fwmark.mark).map(({ dst: ip, type, devs: [dev] }) => ({
    ip,
    ...(dev === undefined ? {} : { dev }),
    ...(type === "local" ? { isNode: true } : {}),
  }));
}

function findGateways(
  host: Rtnl,
  { fwmark }: Settings,
  pod: Rtnl,
  ifname: string,
): PodConnection["gateways"] {
  const ips = readMainRoutes(pod, ifname).flatMap(({ dst, via, family }) =>
    via !== undefined && dst === defaultPrefix(family) ? [via] : [],
  );
  const unique = [...new Set(ips)];
  const found = host.lookUpRoutes(unique, fwmark.mark);
  // A link-local next hop belongs to no host if a node answers for all (proxy_arp, permanent neighbours).
  return unique.map((ip, i) => ({ ip, isNode: found[i]?.type === "local" || isOwnLinkLocal(host, ip) }));
}

function isOwnLinkLocal(host: Rtnl, ip: string): boolean {
  return familyOf(ip) === 6 && ip.startsWith("fe80:") && host.addresses().some((own) => own.ip === ip);
}

function portKinds(host: Rtnl, { index }: Link): string[] {
  return host
    .links()
    .filter(({ masterIndex }) => masterIndex === index)
    .map(({ kind }) => kind);
}
