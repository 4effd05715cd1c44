// Looks for the addresses that other nodes are to send to. What is chosen of
// them is plan/transport.ts.
import { findUplinks } from "../netlink/uplinks.ts";
import type { Settings } from "../plan/settings.ts";
import { findTransport, type NoTransport, type Transport } from "../plan/transport.ts";
import type { Kernel } from "./kernel.ts";

export function observeTransport(settings: Settings, { host }: Kernel): Transport | NoTransport {
  return findTransport({
    settings,
    links: host.links().map(({ name }) => name),
    addresses: host.addresses(),
    uplinks: findUplinks(host),
  });
}
