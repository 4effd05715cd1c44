// Initiates on slots on which no handshake with a peer has ever succeeded (plan/peers/slot-proof.ts).
import type { PeerPath } from "../net/path.ts";
import { findUnproven, type SlotProofFacts, slotToProve } from "../plan/peers/slot-proof.ts";

export class SlotProofs {
  /** Since when a slot of each peer has been left without a handshake. */
  readonly #sinceMs = new Map<string, number>();

  /** The path, with the slot to initiate on. The gate itself decides about a peer whose gate is closed. */
  add(
    path: PeerPath,
    facts: Omit<SlotProofFacts, "path" | "sinceMs">,
    isGateClosed: boolean,
    nowMs: number,
  ): PeerPath {
    const { name } = facts.peer;
    if (isGateClosed || path.probe !== undefined || findUnproven({ ...facts, path }) === undefined) {
      this.#sinceMs.delete(name);
      return path;
    }
    const sinceMs = this.#sinceMs.get(name) ?? nowMs;
    this.#sinceMs.set(name, sinceMs);
    const slot = slotToProve({ ...facts, path, sinceMs }, nowMs);
    if (slot === undefined || path.initiate.includes(slot)) return path;
    return { ...path, initiate: [...path.initiate, slot] };
  }

  /** Forgets peers that are gone. */
  keep(peers: ReadonlySet<string>): void {
    for (const name of this.#sinceMs.keys()) if (!peers.has(name)) this.#sinceMs.delete(name);
  }
}
