// The path to one peer, decided by the agent and kept in the store, so
// that every process computes the same routes from it.
import type { Slot } from "./record.ts";

/**
 * Without a slot the gate is closed: no handshake has shown yet that the peer
 * has our key. With one, traffic goes there, and never in plaintext again until the
 * peer's own record or an operator closes the gate (the ratchet).
 */
export interface PeerPath {
  readonly slot?: Slot;
  /** The index of the peer's programmed endpoint, modulo the number of endpoints. */
  readonly candidate: number;
  /** Slots on which a short keepalive initiates a handshake. */
  readonly initiate: readonly Slot[];
  /** True if the endpoint is set although the peer has roamed from it, because the new endpoint is silent. */
  readonly pinned: boolean;
  /** Unix milliseconds until which this node's record asks the peer to begin a handshake; absent if it does not. */
  readonly asksUntilMs?: number;
  /** An address that the peer claims and that is asked for a handshake, as the endpoint of a slot without its traffic; absent if none is. */
  readonly probe?: { readonly slot: Slot; readonly ip: string };
  /** Unix milliseconds since which the peer is asked for a sign of life, because another node claims what it has; absent if it is not. */
  readonly contestedSinceMs?: number;
}

/** The path to a peer that nothing is known of yet. */
export const closedPath: PeerPath = { candidate: 0, initiate: [], pinned: false };
