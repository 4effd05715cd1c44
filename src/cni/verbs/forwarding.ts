// A main plugin's node must forward packets. As ptp does, forwarding is
// switched on where it is off; unlike ptp, the value before is kept for `down`.

import type { Family } from "../../net/ip.ts";
import { readSysctl } from "../../reconcile/apply.ts";
import type { Kernel } from "../../reconcile/kernel.ts";
import type { Store } from "../../state/store.ts";

const forwardingSysctl: Record<Family, string> = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
};

/** Writes only what is off. Throws SysError, StoreError. */
export function enableForwarding(kernel: Kernel, store: Store, families: readonly Family[]): void {
  for (const family of families) {
    const path = forwardingSysctl[family];
    const before = readSysctl(path);
    if (before === undefined || before === "1") continue;
    store.saveSysctl(path, before);
    kernel.writeSysctl(path, "1");
  }
}
