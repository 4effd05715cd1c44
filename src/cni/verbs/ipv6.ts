// Some runtimes hand over a namespace with IPv6 disabled (Docker's do), and the kernel then refuses
// every IPv6 address. Like the reference plugins, a main plugin that gives an IPv6 address enables it
// for loopback and its interface.
import { withNetns } from "../../linux/netns.ts";
import { familyOf } from "../../net/ip.ts";
import { readSysctl } from "../../reconcile/apply.ts";
import type { Kernel } from "../../reconcile/kernel.ts";

/** Enables IPv6 if an address needs it; the interface has to exist. Throws SysError. */
export function enableIpv6(kernel: Kernel, netns: string, ifname: string, ips: readonly string[]): void {
  if (!ips.some((ip) => familyOf(ip) === 6)) return;
  withNetns(netns, () => {
    for (const dev of ["lo", ifname]) {
      const path = `net/ipv6/conf/${dev}/disable_ipv6`;
      if (readSysctl(path) === "1") kernel.writeSysctl(path, "0");
    }
  });
}
