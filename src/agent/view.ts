// The node as the agent's parts see it, for as long as the store's generation stands.
import type { NodeReader } from "../reconcile/node.ts";
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
