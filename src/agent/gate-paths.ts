// The path to every peer as the store keeps it, read once until something changes it.
import { closedPath, type PeerPath } from "../net/path.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { Slot } from "../net/record.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Session } from "../reconcile/session.ts";
import type { GateView } from "../sources/node-view.ts";

export class GatePaths {
  #stored: ReadonlyMap<string, PeerPath> | undefined;

  constructor(private readonly session: Session) {}

  /** All paths by the peer's name. */
  get all(): ReadonlyMap<string, PeerPath> {
    this.#stored ??= this.session.store.paths();
    return this.#stored;
  }

  of(peer: string): PeerPath {
    return this.all.get(peer) ?? closedPath;
  }

  /** Reads the paths anew at the next use, because another process may have changed them. */
  forget(): void {
    this.#stored = undefined;
  }

  /**
   * Takes over from a node without an agent: if a peer's traffic is in the tunnel already, it stays
   * there, or else it would be in plaintext until a handshake. True if this was the first time.
   */
  adopt({ settings, ownership }: GateView): boolean {
    const { store } = this.session;
    if (store.gated) return false;
    const inTunnel = this.#prefixesInTunnel(settings);
    const adopted = new Map<string, PeerPath>();
    for (const peer of ownership.peers) {
      const prefixes = [...peer.podCIDRs, ...peer.nodeIPs.map(hostPrefix)];
      const slot = prefixes.flatMap((prefix) => inTunnel.get(prefix) ?? [])[0];
      if (slot !== undefined) adopted.set(peer.name, { ...closedPath, slot });
    }
    store.transaction(() => {
      store.setGated(true);
      store.putPaths(adopted, true);
    });
    this.forget();
    return true;
  }

  #prefixesInTunnel(settings: Settings): ReadonlyMap<string, Slot> {
    const slotOf = new Map(slots.map((slot) => [slotDevice(settings, slot), slot]));
    const inTunnel = new Map<string, Slot>();
    for (const table of [settings.podTable, settings.hostTable])
      for (const family of [4, 6] as const)
        for (const { dst, dev } of this.session.kernel.host.routes({ family, table })) {
          const slot = slotOf.get(dev ?? "");
          if (slot !== undefined) inTunnel.set(dst, slot);
        }
    return inTunnel;
  }

  /**
   * Stores the paths that differ from the stored ones, and removes those of former peers. This comes
   * before the kernel changes: a gate that is open in the kernel is open in the store. True if something changed.
   */
  keep(paths: ReadonlyMap<string, PeerPath>): boolean {
    const changed = new Map<string, PeerPath | undefined>();
    for (const [name, path] of paths) if (!isSamePath(this.all.get(name), path)) changed.set(name, path);
    for (const name of this.all.keys()) if (!paths.has(name)) changed.set(name, undefined);
    if (changed.size === 0) return false;
    const slotChanged = [...changed].some(([name, path]) => this.all.get(name)?.slot !== path?.slot);
    this.session.store.putPaths(changed, slotChanged);
    this.forget();
    return true;
  }
}

function isSamePath(a: PeerPath | undefined, b: PeerPath): boolean {
  return (
    a !== undefined &&
    a.slot === b.slot &&
    a.candidate === b.candidate &&
    a.pinned === b.pinned &&
    a.asksUntilMs === b.asksUntilMs &&
    a.contestedSinceMs === b.contestedSinceMs &&
    a.probe?.slot === b.probe?.slot &&
    a.probe?.ip === b.probe?.ip &&
    a.initiate.length === b.initiate.length &&
    a.initiate.every((slot, i) => slot === b.initiate[i])
  );
}
