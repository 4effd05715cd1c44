// Keeps when peers last sent packets through this node to others, outside the tunnel: strict mode would drop
// them. The nftables table counts them before this node translates their destination.
export class TransitWatch {
  readonly #seen = new Map<string, { readonly packets: number; readonly atMs?: number }>();

  /** `sums`: packets by peer. The time of what the first reading shows is not known, so it does not count. */
  observe(sums: ReadonlyMap<string, number>, nowMs: number): void {
    for (const [peer, packets] of sums) {
      const known = this.#seen.get(peer);
      if (known === undefined || packets < known.packets) this.#seen.set(peer, { ...known, packets });
      else if (packets > known.packets) this.#seen.set(peer, { packets, atMs: nowMs });
    }
    for (const peer of this.#seen.keys()) if (!sums.has(peer)) this.#seen.delete(peer);
  }

  /** Names of the peers that sent any since then. */
  peersSince(fromMs: number): readonly string[] {
    return [...this.#seen].flatMap(([peer, { atMs }]) =>
      atMs !== undefined && atMs >= fromMs ? [peer] : [],
    );
  }
}
