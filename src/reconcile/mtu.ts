// Observes the facts for the tunnel's MTU: it asks the kernel for the route that encrypted packets to
// every peer's endpoint take. plan/mesh/mtu.ts derives the MTU.
import { keepFor, keepLast } from "../net/keep.ts";
import type { RouteLookup } from "../net/objects.ts";
import type { NodeRecord } from "../net/record.ts";
import { type DerivedMtu, deriveMtu, peerEndpoints, type Uplink } from "../plan/mesh/mtu.ts";
import type { Landmark } from "../plan/peers/landmarks.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Kernel } from "./kernel.ts";
import { observeLandmarks } from "./landmarks.ts";

/**
 * The kernel's routes to addresses, as they were last read: thousands of them
 * cost the kernel 10 ms. The caller must follow their changes, and call forget().
 */
export class RouteLookupCache {
  #lookups = new Map<string, RouteLookup>();
  /** The last question and its answer, as long as both hold. */
  #last: { readonly ips: readonly string[]; readonly lookups: readonly RouteLookup[] } | undefined;
  #mark = 0;
  #landmarks: readonly Landmark[] = [];
  #areLandmarksKnown = false;

  forget(): void {
    this.#lookups.clear();
    this.#last = undefined;
    this.#areLandmarksKnown = false;
  }

  /** Returns addresses around this node that are no pod's; the same list until they change. */
  landmarks(settings: Settings, kernel: Kernel): readonly Landmark[] {
    if (this.#areLandmarksKnown) return this.#landmarks;
    const landmarks = observeLandmarks(settings, kernel);
    if (!Bun.deepEquals(landmarks, this.#landmarks)) this.#landmarks = landmarks;
    this.#areLandmarksKnown = true;
    return this.#landmarks;
  }

  /**
   * Returns one entry for each address, in their order; asks the kernel only for what is not known. The answer to
   * the same list is the same list.
   */
  lookUp(ips: readonly string[], mark: number, kernel: Kernel): readonly RouteLookup[] {
    if (mark !== this.#mark) this.forget();
    this.#mark = mark;
    if (this.#last?.ips === ips) return this.#last.lookups;
    const unknown = ips.filter((ip) => !this.#lookups.has(ip));
    for (const way of kernel.host.lookUpRoutes(unknown, mark)) this.#lookups.set(way.dst, way);
    const lookups = ips.map((ip) => this.#lookups.get(ip) as RouteLookup);
    // Addresses that are not asked for any more are not kept.
    if (this.#lookups.size > lookups.length) this.#lookups = new Map(lookups.map((way) => [way.dst, way]));
    this.#last = { ips, lookups };
    return lookups;
  }
}

/** Every address that tunnel packets may be sent to: the same list for the same peers. */
export const endpointsOf = keepLast((node: NodeRecord, peers: readonly OwnedPeer[]): readonly string[] => [
  ...peerEndpoints(node, peers).keys(),
]);

/** The interfaces that the routes lead to, to whatever host. */
export const interfacesOf = keepFor((routes: readonly RouteLookup[]): readonly string[] => {
  const names = new Set<string>();
  for (const { type, devs } of routes) if (type === "unicast") for (const dev of devs) names.add(dev);
  return [...names];
});

export function observeMtu(
  settings: Settings,
  node: NodeRecord,
  peers: readonly OwnedPeer[],
  podIPs: readonly string[],
  kernel: Kernel,
  cache = new RouteLookupCache(),
): DerivedMtu {
  const facts = { settings, node, peers, podIPs };
  if (settings.mtu !== 0) return deriveMtu({ ...facts, routes: [], linkMtus: new Map() });
  // The lookup has our mark, so that our own tables are skipped.
  const routes = cache.lookUp(endpointsOf(node, peers), settings.fwmark.mark, kernel);
  const linkMtus = readLinkMtus(settings, routes, kernel);
  const own = linkMtus.size === 0 ? findOwnUplink(settings, node, kernel) : undefined;
  return deriveMtu({ ...facts, routes, linkMtus, ...(own === undefined ? {} : { own }) });
}

/** Our own devices are left out: a route through them would take their overhead off once more in every pass. */
function readLinkMtus(
  settings: Settings,
  routes: readonly RouteLookup[],
  kernel: Kernel,
): Map<string, number> {
  const own = slots.map((slot) => slotDevice(settings, slot));
  const mtus = new Map<string, number>();
  for (const name of interfacesOf(routes)) {
    if (own.includes(name)) continue;
    const link = kernel.host.findLink(name);
    if (link !== undefined) mtus.set(name, link.mtu);
  }
  return mtus;
}

function findOwnUplink(settings: Settings, node: NodeRecord, kernel: Kernel): Uplink | undefined {
  const devices = slots.map((slot) => slotDevice(settings, slot));
  const address = kernel.host
    .addresses()
    .find(({ ip, dev }) => node.endpoints.includes(ip) && !devices.includes(dev));
  const link = address === undefined ? undefined : kernel.host.findLink(address.dev);
  return link === undefined ? undefined : { dev: link.name, mtu: link.mtu };
}
