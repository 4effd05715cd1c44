// The node as the agent's parts see it, for as long as the store's generation stands.
import type { StatusFacts } from "../kube/status.ts";
import type { PeerPath } from "../net/path.ts";
import { resolvePath } from "../plan/path.ts";
import type { NodeReader } from "../reconcile/node.ts";
import type { Identity } from "../state/model.ts";
import type { GateView } from "./gate.ts";

export interface View extends GateView {
  readonly generation: number;
}

/** Undefined while the node is not up, or about to leave. Throws StoreError, ParseError. */
export function readView(nodes: NodeReader): View | undefined {
  const { settings, identity, record: node, up, ownership, generation } = nodes.intent();
  if (identity === undefined || node === undefined || !up || identity.leaving) return undefined;
  const ownSinceMs = Object.fromEntries(identity.slots.map(({ slot, createdAtMs }) => [slot, createdAtMs]));
  return { settings, node, ownSinceMs, generation, ownership };
}

/** How this node sees the others, for them: in the few words that need no look at the devices. */
export function describeMesh(
  view: View | undefined,
  paths: ReadonlyMap<string, PeerPath>,
  { up, slots }: Identity,
): StatusFacts {
  const keyCreatedAtMs = Math.min(...slots.map(({ createdAtMs }) => createdAtMs));
  if (view === undefined) return { up: false, peers: 0, unencrypted: [], keyCreatedAtMs, contested: [] };
  const { node, ownership } = view;
  const unencrypted = ownership.peers.filter((peer) => resolvePath(node, peer, paths).slot === undefined);
  return {
    ...{ up, keyCreatedAtMs, peers: ownership.peers.length },
    unencrypted: unencrypted.map(({ name }) => name),
    contested: ownership.refusals.filter(({ owner }) => owner === node.name),
  };
}
