// Keeps which sources packets to other nodes have had that no node takes out of the tunnel. The kernel forgets
// a source after a minute without a packet, and all of them if its tables are flushed.
import type { RefusedPackets } from "../plan/report/refused-sources.ts";
import type { Problem } from "../telemetry/problem-log.ts";

/** A line names at most so many peers. */
const maxPeers = 5;

interface Seen {
  /** The count of the kernel; 0 if it has forgotten the source. */
  readonly packets: number;
  readonly atMs: number;
}

export class RefusedSources {
  readonly #seen = new Map<string, Seen>();
  #now: RefusedPackets = { sources: new Map(), peers: [] };

  /** Names of the peers that packets with such a source went to within the last minute. */
  get peers(): readonly string[] {
    return this.#now.peers;
  }

  observe(now: RefusedPackets, nowMs: number): void {
    this.#now = now;
    for (const [source, { atMs }] of this.#seen)
      if (!now.sources.has(source)) this.#seen.set(source, { packets: 0, atMs });
    for (const [source, packets] of now.sources) {
      const known = this.#seen.get(source);
      // An element that was made anew counts from 1.
      const isNew = known === undefined || packets !== known.packets;
      this.#seen.set(source, { packets, atMs: isNew ? nowMs : known.atMs });
    }
  }

  /** The sources of packets since then; earlier ones are forgotten. */
  since(fromMs: number): readonly string[] {
    for (const [source, { packets, atMs }] of this.#seen)
      if (packets === 0 && atMs < fromMs) this.#seen.delete(source);
    return [...this.#seen].flatMap(([source, { atMs }]) => (atMs >= fromMs ? [source] : []));
  }

  /** One problem for each source of the last minute. `isOff`: packets are sent outside the tunnel still. */
  problems(isOff: boolean): ReadonlyMap<string, Problem> {
    const { sources, peers } = this.#now;
    const message = isOff
      ? "packets to pods of other nodes have a source that these would not take out of the tunnel"
      : "packets to other nodes have a source that these do not take out of the tunnel";
    const details = (packets: number) => () => ({
      ...{ packets, peers: peers.slice(0, maxPeers).join(", "), cause: "a rule of this host translates it" },
    });
    return new Map(
      [...sources].map(([source, packets]) => [
        source,
        { message, fields: { source }, details: details(packets) },
      ]),
    );
  }
}
