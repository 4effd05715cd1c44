// A main plugin's node must forward packets. Like ptp, this enables forwarding if it is off. Unlike
// ptp, it saves the values that change with it for `down`, and interfaces go on to accept the router
// advertisements that they accepted before. plan/host/host-changes.ts has the related sysctls.

import type { Family } from "../../net/ip.ts";
import type { Rtnl } from "../../netlink/rtnl.ts";
import { findUplinks } from "../../netlink/uplinks.ts";
import {
  acceptRaSysctl,
  deviceForwarding,
  forwardingSysctl,
  redirectsSysctl,
} from "../../plan/host/host-changes.ts";
import { readSysctl } from "../../reconcile/apply.ts";
import type { Kernel } from "../../reconcile/kernel.ts";
import type { Store } from "../../state/store.ts";

const mainTable = 254;
/** RTPROT_RA (linux/rtnetlink.h): the kernel has the route from a router's advertisement. */
const byAdvertisement = 9;

/** Enables forwarding for the families that have it off. Throws SysError, StoreError. */
export function enableForwarding(kernel: Kernel, store: Store, families: readonly Family[]): void {
  for (const family of families) {
    const path = forwardingSysctl[family];
    const before = readSysctl(path);
    if (before === undefined || before === "1") continue;
    if (family === 6) keepAdvertisements(kernel, store);
    for (const changed of changedWith(kernel.host, family)) save(store, changed);
    store.saveSysctl(path, before);
    kernel.writeSysctl(path, "1");
  }
}

/** Returns the other sysctls that the kernel changes when forwarding is switched on. */
function changedWith(host: Rtnl, family: Family): string[] {
  const forwarding = ["default", ...host.links().map(({ name }) => name)]
    .map((dev) => deviceForwarding(family, dev))
    .filter((path) => readSysctl(path) === "1");
  return family === 4 ? [redirectsSysctl, ...forwarding] : forwarding;
}

/** Lets interfaces accept router advertisements before forwarding begins, because the kernel then drops advertised routes at once. */
function keepAdvertisements(kernel: Kernel, store: Store): void {
  const { host } = kernel;
  const advertised = host
    .routes({ family: 6, table: mainTable })
    .flatMap(({ protocol, dev }) => (protocol === byAdvertisement && dev !== undefined ? [dev] : []));
  for (const dev of new Set([...advertised, ...findUplinks(host)])) {
    const path = acceptRaSysctl(dev);
    if (readSysctl(path) !== "1" || readSysctl(deviceForwarding(6, dev)) === "1") continue;
    save(store, path);
    kernel.writeSysctl(path, "2");
  }
}

function save(store: Store, path: string): void {
  const before = readSysctl(path);
  if (before !== undefined) store.saveSysctl(path, before);
}
