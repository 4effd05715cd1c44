// Makes the table that checks what pods send, or takes it away, on behalf of a plugin
// process that found it absent, or no longer of use. Loaded on demand as a bundle of its
// own, so only plain values go in and come out.
import { readBootId } from "../linux/boot.ts";
import { Nft } from "../netlink/nft/table.ts";
import { podFirewall } from "../plan/pods/firewall.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { Store } from "../state/store.ts";

/** Throws NetlinkError, SysError. */
export function makePodFirewall(): void {
  using nft = Nft.open();
  nft.sync(podFirewall);
}

/**
 * An ADD records its pod before it searches the table, so that one of the two sees the
 * other. Throws NetlinkError, SysError, StoreError.
 */
export function dropPodFirewall(stateDir: string): void {
  using store = Store.open(stateDir, readBootId());
  using nft = Nft.open();
  store.transaction(() => {
    if (!store.hasStandalonePods()) nft.delete(podFirewallName);
  });
}
