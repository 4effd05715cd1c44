// The node as the agent's parts see it, resolved once a generation of the
// store: resolving thousands of claims at every look would cost more than the look.
import { resolveClaims } from "../plan/claims.ts";
import { readNode } from "../reconcile/node.ts";
import type { Store } from "../state/store.ts";
import type { GateView } from "./gate.ts";

export interface View extends GateView {
  readonly generation: number;
}

/** Undefined while the node is not up, or about to leave. Throws StoreError, ParseError. */
export function readView(store: Store): View | undefined {
  const { settings, identity, record: node, up, peers, generation } = readNode(store);
  if (identity === undefined || node === undefined || !up || identity.leaving) return undefined;
  const publicKeys = node.slots.map(({ publicKey }) => publicKey);
  const ownSinceMs = Object.fromEntries(identity.slots.map(({ slot, createdAtMs }) => [slot, createdAtMs]));
  return { settings, node, ownSinceMs, generation, ownership: resolveClaims({ ...node, publicKeys }, peers) };
}
