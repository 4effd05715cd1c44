// The settings of the node's end of a pod's link, before it goes up. A process that is
// in the pod sends what he likes by it, so the node learns nothing from there: no default
// route or address by a router advertisement (CVE-2020-10749), no redirect, no sender that
// is not the pod. Pure.
import type { Ipv4LinkSettings } from "../../net/objects.ts";
import type { SysctlStep } from "../step.ts";

/** The group that these links are in: what is ours by the kernel's own word (plan/pods/firewall.ts). */
export const podLinkGroup = 18099;

/** Set through netlink as the link is made, which costs no system call. `podLinkSysctls` has the same. */
export const podLinkIpv4: Ipv4LinkSettings = {
  rpFilter: 1,
  acceptRedirects: 0,
  sendRedirects: 0,
  proxyArp: 0,
};

/** All settings of the link. Those of IPv6 cannot be set through netlink. */
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
