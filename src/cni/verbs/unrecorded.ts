// Removes a pod from the node without the store. It finds the objects of ADD in the kernel: the pod's
// addresses in its namespace, and routes to single addresses in tables that our rules lead to. The
// settings are in the store, too, so tables and protocol are recognised by their form. A pod that may
// change its namespace can show addresses of other pods: therefore the addresses that the runtime
// names have priority, and an address that the node reaches by another interface than this pod's
// belongs to another pod.
import { findNetnsIdentity, ownNetns } from "../../linux/netns.ts";
import { SysError } from "../../linux/syscall.ts";
import { familyOf } from "../../net/ip.ts";
import type { Route } from "../../net/objects.ts";
import { hostPrefix } from "../../net/prefix.ts";
import { NetlinkError } from "../../netlink/error.ts";
import type { Rtnl } from "../../netlink/rtnl.ts";
import { podNames } from "../../plan/pods/pod.ts";
import { parseSettings } from "../../plan/settings/settings.ts";
import { applySteps, type Failure } from "../../reconcile/apply.ts";
import type { Kernel } from "../../reconcile/kernel.ts";
import { findEnd } from "../../reconcile/pod-connection.ts";
import type { Attachment } from "../../state/model.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";
import { podIps } from "../result.ts";

const mainTable = 254;
/** A pod that may change its namespace can have any number of addresses; those that ADD gave it are the first ones. */
const maxAddresses = 1024;
/** RTPROT_STATIC: protocols up to this one belong to the kernel, the boot scripts and administrators. */
const lastCommonProtocol = 4;

/** `attachment`: its record, if it could be read before the store failed. */
export function removeUnrecorded(
  host: Host,
  request: Request,
  attachment: Attachment | undefined,
): Failure[] {
  const { kernel } = host;
  // The link goes with the pod's addresses, so these are read first.
  const shown = readPod(host, request);
  const failures = removeLink(kernel, request, attachment);
  const named = attachment?.ips ?? namedIps(request);
  const gone = withoutOthers(kernel.host, named.length > 0 ? named : shown.ips, shown.end);
  const steps = findThrows(kernel.host, gone).map((route) => ({ do: "deleteRoute", route }) as const);
  return [...failures, ...applySteps(steps, kernel)];
}

function removeLink(kernel: Kernel, request: Request, attachment: Attachment | undefined): Failure[] {
  const isMain = (attachment?.role ?? request.conf.role) === "standalone";
  return isMain
    ? applySteps([{ do: "deleteLink", dev: attachment?.hostDev ?? podNames(request).hostDev }], kernel)
    : [];
}

function namedIps({ conf, ifname }: Request): string[] {
  return conf.prevResult === undefined ? [] : podIps(conf.prevResult, ifname);
}

/** The addresses and the link that a pod's namespace shows. */
interface ShownPod {
  readonly ips: readonly string[];
  /** The node's end of its interface, if that is one of a pair. */
  readonly end?: string;
}

/** Returns no addresses if the namespace or the interface is gone, or the namespace is the node's own. */
function readPod(host: Host, request: Request): ShownPod {
  if (request.netns === "") return { ips: [] };
  const { kernel } = host;
  const { ifname } = request;
  const netns = host.locateNetns(request.netns);
  try {
    if (findNetnsIdentity(netns) === findNetnsIdentity(ownNetns)) return { ips: [] };
    const pod = kernel.enterPod(netns);
    const addresses = pod.addresses(ifname, maxAddresses);
    const ips = addresses.filter(({ scope }) => scope === "global").map(({ ip }) => ip);
    const link = pod.findLink(ifname);
    const end = link === undefined ? undefined : findEnd(kernel.host, link, netns)?.name;
    return { ips, ...(end === undefined ? {} : { end }) };
  } catch (error) {
    if (error instanceof SysError || error instanceof NetlinkError) return { ips: [] };
    throw error;
  } finally {
    kernel.leavePod();
  }
}

/** Returns the addresses that no other pod has now: the node reaches them by no interface, or by `end`. */
function withoutOthers(host: Rtnl, ips: readonly string[], end: string | undefined): string[] {
  return [...Map.groupBy(ips, familyOf)].flatMap(([family, some]) => {
    const routes = host.routes({ family, table: mainTable, type: "unicast" });
    const devs = new Map(routes.flatMap(({ dst, dev }) => (dev === undefined ? [] : [[dst, dev] as const])));
    return some.filter((ip) => {
      const dev = devs.get(hostPrefix(ip));
      return dev === undefined || dev === end;
    });
  });
}

/** Returns the routes that keep the addresses out of the tunnel, in all tables that are recognised as ours. */
function findThrows(host: Rtnl, ips: readonly string[]): Route[] {
  const { routeProtocol } = parseSettings({});
  return [...Map.groupBy(ips, familyOf)].flatMap(([family, some]) => {
    const wanted = new Set(some.map(hostPrefix));
    const throws = host.routes({ family, type: "throw" }).filter(({ dst }) => wanted.has(dst));
    if (throws.every(({ protocol }) => protocol === routeProtocol)) return throws;
    const rules = host.rules(family);
    const isOurs = ({ table, protocol }: Route) =>
      protocol === routeProtocol ||
      (protocol > lastCommonProtocol &&
        rules.some((rule) => rule.table === table && rule.protocol === protocol));
    return throws.filter(isOurs);
  });
}
