// A main plugin's node must forward packets. As ptp does, forwarding is
// switched on where it is off; unlike ptp, what changes with it is kept for `down`,
// and interfaces go on to take the router advertisements that they took before.
// What belongs together is plan/host/host-changes.ts.

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

/** Writes only what is off. Throws SysError, StoreError. */
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

/** What the kernel sets too when it begins to forward, or when it ends. */
function changedWith(host: Rtnl, family: Family): string[] {
  const forwarding = ["default", ...host.links().map(({ name }) => name)]
    .map((dev) => deviceForwarding(family, dev))
    .filter((path) => readSysctl(path) === "1");
  return family === 4 ? [redirectsSysctl, ...forwarding] : forwarding;
}

/** Before forwarding begins: the kernel then drops at once what routers have advertised. */
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
