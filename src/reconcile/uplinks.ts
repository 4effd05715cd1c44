// Asks the kernel which interfaces lead away from this node. plan/host/uplinks.ts decides which of
// them are uplinks.
import type { Family } from "../net/ip.ts";
import type { NodeRecord } from "../net/record.ts";
import { chooseUplinks } from "../plan/host/uplinks.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Kernel } from "./kernel.ts";
import { endpointsOf, interfacesOf, type RouteLookupCache } from "./mtu.ts";

/** Addresses that no host has (RFC 7600, RFC 6666): the route to them is the one of last resort. */
export const nowhere: Readonly<Record<Family, string>> = { 4: "192.0.0.8", 6: "100::1" };

/** Sorted names. Throws NetlinkError, SysError, DecodeError. */
export function observeUplinks(
  settings: Settings,
  node: NodeRecord,
  peers: readonly OwnedPeer[],
  kernel: Kernel,
  known: RouteLookupCache,
): string[] {
  const { mark } = settings.fwmark;
  const routed = new Set([
    ...interfacesOf(known.lookUp(endpointsOf(node, peers), mark, kernel)),
    ...kernel.host
      .lookUpRoutes(Object.values(nowhere), mark)
      .flatMap(({ type, devs }) => (type === "unicast" ? devs : [])),
  ]);
  return chooseUplinks(
    kernel.host.links(),
    routed,
    slots.map((slot) => slotDevice(settings, slot)),
  );
}
