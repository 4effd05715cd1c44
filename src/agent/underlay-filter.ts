// Decides whether a kernel event may change the tunnel's MTU. Pods come and go all day, and with them
// links and routes; few of these lie between this node and a peer. The filter reads nothing; it
// remembers what the last pass has found.
import { familyBits, familyOf, ipBytes } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { KernelChange } from "../netlink/events.ts";
import { peerEndpoints } from "../plan/mesh/mtu.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";

/** The part of the mesh's state that describes the underlay. */
export type UnderlayFacts = Pick<MeshState, "settings" | "node" | "ownership" | "mtu">;

export class UnderlayFilter {
  /** MTU by the name of the interface. */
  #uplinks = new Map<string, number>();
  #ownTables: readonly number[] = [];
  #endpoints: readonly string[] = [];
  /** The networks that endpoints are in, by family and length ("4/24"), computed at the first event about a route of that length. */
  #networks = new Map<string, Set<string>>();

  /** Remembers what the last pass has found; before the first call, no event affects the underlay. */
  learn({ settings, node, ownership, mtu }: UnderlayFacts): void {
    this.#uplinks = new Map(mtu.uplinks.map(({ dev, mtu: bytes }) => [dev, bytes]));
    this.#ownTables = [settings.hostTable, settings.podTable];
    this.#networks.clear();
    // An MTU that is set by hand depends on no route.
    this.#endpoints = settings.mtu === 0 ? [...peerEndpoints(node, ownership.peers).keys()] : [];
  }

  /** True if the event needs a reconcile pass. */
  affects(event: KernelChange): boolean {
    switch (event.about) {
      case "link": {
        const mtu = this.#uplinks.get(event.name);
        // The kernel reports a link that goes down, but not the IPv4 routes that go with it.
        return mtu !== undefined && (mtu !== event.mtu || !event.up);
      }
      case "route":
        return !this.#ownTables.includes(event.table) && this.#leadsToPeer(event.dst);
      default:
        return false;
    }
  }

  /** Every pod adds routes to itself and link-local ones, which lead to no endpoint. */
  #leadsToPeer(dst: string): boolean {
    const length = Number(dst.slice(dst.indexOf("/") + 1));
    const family = familyOf(dst);
    const key = `${family}/${length}`;
    let networks = this.#networks.get(key);
    if (networks === undefined) {
      const ofFamily = this.#endpoints.filter((ip) => familyOf(ip) === family);
      networks = new Set(
        length === familyBits(family)
          ? ofFamily.map((ip) => `${ip}/${length}`)
          : ofFamily.map((ip) => formatPrefix(ipBytes(ip), length)),
      );
      this.#networks.set(key, networks);
    }
    return networks.has(dst);
  }
}
