// Finds the endpoints of peers that another process has set. WireGuard itself changes an endpoint only with an
// authenticated packet of the peer, and counts that packet as received. If an endpoint differs between two
// readings and nothing was received between them, another process has set it. Pure.
import { type Endpoint, isSameEndpoint } from "../../net/device.ts";
import type { OwnedPeer } from "./model.ts";
import type { PeerObservations, SlotObservation } from "./observation.ts";
import { slots, usableSlot } from "./path.ts";

/** The endpoint that a peer had before another process set it, by public key. */
export type ReplacedEndpoints = ReadonlyMap<string, Endpoint>;

export const noneReplaced: ReplacedEndpoints = new Map();

/** `isOwn`: true if this agent itself has set the endpoint of the public key. */
export function findReplacedEndpoints(
  peers: readonly OwnedPeer[],
  before: PeerObservations,
  after: PeerObservations,
  isOwn: (publicKey: string, endpoint: Endpoint) => boolean,
): ReplacedEndpoints {
  const replaced = new Map<string, Endpoint>();
  for (const peer of peers) {
    const [seenBefore, seen] = [before.get(peer.name), after.get(peer.name)];
    for (const slot of slots) {
      const [one, other] = [seenBefore?.[slot], seen?.[slot]];
      // Most of thousands of peers are idle, and their observations stay the same objects.
      if (one === other || one === undefined || other === undefined || !isSet(one, other)) continue;
      const endpoint = other.endpoint as Endpoint;
      // A command of this node sets an endpoint that the peer's record names.
      const isNamed = peer.endpoints.includes(endpoint.ip) && usableSlot(peer, slot)?.port === endpoint.port;
      if (!isNamed && !isOwn(other.publicKey, endpoint))
        replaced.set(other.publicKey, one.endpoint as Endpoint);
    }
  }
  return replaced;
}

/** True if the endpoint has changed and the peer has sent nothing between the two readings. */
function isSet(before: SlotObservation, after: SlotObservation): boolean {
  return (
    before.publicKey === after.publicKey &&
    before.rxBytes === after.rxBytes &&
    before.lastHandshakeMs === after.lastHandshakeMs &&
    before.endpoint !== undefined &&
    after.endpoint !== undefined &&
    !isSameEndpoint(before.endpoint, after.endpoint)
  );
}
