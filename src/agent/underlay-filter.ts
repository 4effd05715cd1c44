// Whether what the kernel tells may change the tunnel's MTU. Pods come and go
// all day, and with them links and routes; few of these lie between this node
// and a peer. Reads nothing; remembers what the last look has found.
import { familyBits, familyOf, ipBytes } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { KernelChange } from "../netlink/events.ts";
import { peerEndpoints } from "../plan/mesh/mtu.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";

/** What a plan says of the underlay. */
export type UnderlayFacts = Pick<MeshState, "settings" | "node" | "ownership" | "mtu">;

export class Underlay {
  /** MTU by the name of the interface. */
  #uplinks = new Map<string, number>();
  #ownTables: readonly number[] = [];
  #endpoints: readonly string[] = [];
  /** By family and length ("4/24"): the networks that endpoints are in. Made when a route of that length is heard of. */
  #networks = new Map<string, Set<string>>();

  /** Takes over what the last look has found; before the first, nothing concerns it. */
  learn({ settings, node, ownership, mtu }: UnderlayFacts): void {
    this.#uplinks = new Map(mtu.uplinks.map(({ dev, mtu: bytes }) => [dev, bytes]));
    this.#ownTables = [settings.hostTable, settings.podTable];
    this.#networks.clear();
    // Set by hand, the MTU depends on nothing.
    this.#endpoints = settings.mtu === 0 ? [...peerEndpoints(node, ownership.peers).keys()] : [];
  }

  /** True where the mesh should be looked at again for it. */
  isConcernedBy(event: KernelChange): boolean {
    switch (event.about) {
      case "link": {
        const mtu = this.#uplinks.get(event.name);
        // The kernel tells of a link that goes down, not of the IPv4 routes that it takes along.
        return mtu !== undefined && (mtu !== event.mtu || !event.up);
      }
      case "route":
        return !this.#ownTables.includes(event.table) && this.#leadsToPeer(event.dst);
      default:
        return false;
    }
  }

  /** Every pod brings routes to itself and link-local ones: they lead to no endpoint. */
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
