// The settings of the node's end of a pod's link, before it goes up. A process in the pod can send anything
// by it, so the node accepts no default route or address from a router advertisement (CVE-2020-10749), no
// redirect, and no sender that is not the pod. Pure.
import type { Ipv4LinkSettings } from "../../net/objects.ts";
import type { SysctlStep } from "../step.ts";

/** The group of these links, by which the kernel itself recognises them (plan/pods/firewall.ts). */
export const podLinkGroup = 18099;

/** These settings are made through netlink with the link, which costs no system call. `podLinkSysctls` has the same. */
export const podLinkIpv4: Ipv4LinkSettings = {
  rpFilter: 1,
  acceptRedirects: 0,
  sendRedirects: 0,
  proxyArp: 0,
};

/** Returns all settings of the link. Those of IPv6 cannot be set through netlink. */
export function podLinkSysctls(dev: string): SysctlStep[] {
  const settings = [
    [`net/ipv4/conf/${dev}/rp_filter`, "1"],
    [`net/ipv4/conf/${dev}/accept_redirects`, "0"],
    [`net/ipv4/conf/${dev}/send_redirects`, "0"],
    [`net/ipv4/conf/${dev}/proxy_arp`, "0"],
    [`net/ipv6/conf/${dev}/accept_ra`, "0"],
    [`net/ipv6/conf/${dev}/accept_redirects`, "0"],
    [`net/ipv6/conf/${dev}/proxy_ndp`, "0"],
  ] as const;
  return settings.map(([path, value]) => ({ do: "writeSysctl", path, value }));
}

/** The sysctls that netlink cannot set. */
export function podLinkIpv6Sysctls(dev: string): SysctlStep[] {
  return podLinkSysctls(dev).filter(({ path }) => path.startsWith("net/ipv6/"));
}
