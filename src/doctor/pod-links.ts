// Reads the links of pods from the kernel, and which routes the node would accept from a pod.
import { findUplinks } from "../netlink/uplinks.ts";
import { slots } from "../plan/peers/path.ts";
import { countForged } from "../plan/pods/firewall.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import { readSysctl } from "../reconcile/apply.ts";
import type { Kernel } from "../reconcile/kernel.ts";
import type { Attachment } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { PodLinks } from "./facts.ts";

/** Throws NetlinkError, SysError. */
export function observePodLinks(settings: Settings, store: Store, kernel: Kernel): PodLinks {
  const attachments = store.attachments();
  const { firewall } = kernel;
  const counters = firewall?.counters(podFirewallName);
  const { ipv4, ipv6 } = countForged(counters ?? new Map());
  return {
    standalone: attachments.filter(({ role }) => role === "standalone").length,
    isGuarded: firewall?.find(podFirewallName) !== undefined,
    forged: ipv4 + ipv6,
    open: findOpen(settings, kernel, attachments),
  };
}

/** Describes the interfaces that lead to chained pods, bridges included, and that accept routes from them. */
function findOpen(settings: Settings, { host }: Kernel, attachments: readonly Attachment[]): string[] {
  const ips = attachments.flatMap(({ role, ips }) => (role === "chained" ? ips : []));
  if (ips.length === 0) return [];
  const others = [...findUplinks(host), ...slots.map((slot) => slotDevice(settings, slot))];
  const devs = host.lookUpRoutes(ips, settings.fwmark.mark).flatMap((found) => found.devs);
  return [...new Set(devs)]
    .filter((dev) => !others.includes(dev))
    .flatMap((dev) => {
      const learned = findLearned(dev);
      return learned.length === 0 ? [] : [`${dev}: ${learned.join(" and ")}`];
    });
}

/** Combines the settings as the kernel does (net/ipv6/ndisc.c, ip-sysctl). */
function findLearned(dev: string): string[] {
  const ipv6 = (name: string) => readSysctl(`net/ipv6/conf/${dev}/${name}`);
  if (ipv6("disable_ipv6") !== "0") return [];
  const forwards = ipv6("forwarding") === "1";
  const acceptRa = ipv6("accept_ra");
  const acceptsRouters = acceptRa === "2" || (acceptRa === "1" && !forwards);
  return [
    ...(acceptsRouters ? ["router advertisements"] : []),
    ...(ipv6("accept_redirects") === "1" && !forwards ? ["redirects"] : []),
  ];
}
