// The interfaces on which packets of other nodes and their pods may arrive in plaintext, and
// which of them filter strictly by the reverse path: only there has that check to go by
// our mark (plan/host/host-changes.ts).
import { familyOf } from "../net/ip.ts";
import { keepFor } from "../net/keep.ts";
import { validMarkSysctl } from "../plan/host/host-changes.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import { readSysctl } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import { interfacesOf, type RouteLookupCache } from "./mtu.ts";
import { nowhere } from "./uplinks.ts";

const strict = 1;

/** Sorted names. Throws NetlinkError, SysError, DecodeError. */
export function observeStrictArrivals(
  settings: Settings,
  peers: readonly OwnedPeer[],
  kernel: Kernel,
  known: RouteLookupCache,
): string[] {
  if (readSysctl(validMarkSysctl("all")) === "1") return [];
  const all = readFilter("all");
  if (all > strict) return [];
  const own = slots.map((slot) => slotDevice(settings, slot));
  const devs = interfacesOf(known.lookUp(addressesOf(peers), settings.fwmark.mark, kernel));
  return devs.filter((dev) => !own.includes(dev) && Math.max(all, readFilter(dev)) === strict).sort();
}

/** IPv6 has no such filter of the kernel's. Of a pod CIDR its first address stands for all. */
const addressesOf = keepFor((peers: readonly OwnedPeer[]): readonly string[] => {
  const ips = [nowhere[4]];
  for (const { endpoints, nodeIPs, podCIDRs } of peers) {
    ips.push(...endpoints, ...nodeIPs);
    for (const cidr of podCIDRs) ips.push(cidr.slice(0, cidr.indexOf("/")));
  }
  return [...new Set(ips.filter((ip) => familyOf(ip) === 4))];
});

function readFilter(dev: string): number {
  return Number(readSysctl(`net/ipv4/conf/${dev}/rp_filter`) ?? 0);
}
