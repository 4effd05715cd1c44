// Judges kernel events about the routes that keep this node's pods out of the tunnel. Each ADD and DEL changes
// one for each address, and the plugin has done all that is to be done, so a pass over all peers would find
// nothing. Events are judged a moment later, because DEL removes the route before the record.
import { familyBits, familyOf } from "../net/ip.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { KernelChange } from "../netlink/events.ts";
import { localRoutes } from "../plan/mesh/routes.ts";
import { withoutTaken } from "../plan/peers/taken.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";

export type PodRouteFacts = Pick<MeshState, "settings" | "node" | "ownership">;

interface Changed {
  readonly table: number;
  readonly dst: string;
  readonly isThere: boolean;
}

export class PodRoutes {
  /** By table and destination: the last event counts. */
  readonly #changed = new Map<string, Changed>();

  /** Remembers the event if it may be about the route of a pod; false if it is about something else. */
  note(event: KernelChange, { podTable, hostTable }: MeshState["settings"]): boolean {
    if (event.about !== "route" || event.type !== "throw") return false;
    const { table, dst, isGone } = event;
    if ((table !== podTable && table !== hostTable) || !isOneAddress(dst)) return false;
    this.#changed.set(`${table} ${dst}`, { table, dst, isThere: !isGone });
    return true;
  }

  /** True if one of the routes is not as it should be. `podIPs`: of the pods on record. Forgets the events. */
  areWrong(podIPs: readonly string[], { settings, node, ownership }: PodRouteFacts): boolean {
    const changed = [...this.#changed.values()];
    this.#changed.clear();
    const destinations = new Set(changed.map(({ dst }) => dst));
    const own = podIPs.filter((ip) => destinations.has(hostPrefix(ip)));
    const kept = new Set(
      withoutTaken(own, { own: node?.podCIDRs ?? [], peers: ownership.peers }).map(hostPrefix),
    );
    const isWanted = ({ table, dst }: Changed) =>
      kept.has(dst) && localRoutes(settings, dst).some((route) => route.table === table);
    return changed.some((one) => isWanted(one) !== one.isThere);
  }
}

function isOneAddress(dst: string): boolean {
  return dst.endsWith(`/${familyBits(familyOf(dst))}`);
}
