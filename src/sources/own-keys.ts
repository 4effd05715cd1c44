// The keys of this node, if something is wrong with them while it runs.
//
//   another record has a key      A node that was away (left the mesh, or was taken out of the cluster)
//                                 comes back with keys that everybody has read. Another record may name
//                                 them by now, and the API takes no key twice: this node would stay
//                                 outside. Nobody has a session with a key that this node's record does
//                                 not name, so it is exchanged for a new one at no cost.
//   a key has no proof            An older version has made it. It gets one, or whoever copies the key
//                                 is weighed like its owner until the next rotation.
import type { Slot } from "../net/record.ts";
import { readSettings } from "../reconcile/node.ts";
import type { Identity, IdentitySlot } from "../state/model.ts";
import { makeProof } from "../state/proof.ts";
import { openPrivateKey, readSealKey, SealError } from "../state/seal.ts";
import { makeSlotKey } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "../telemetry/log.ts";

/** True if keys were exchanged; `taken`: the slots whose keys another record has. Throws StoreError. */
export function replaceTakenKeys(store: Store, taken: readonly Slot[], log: Log, nowMs: number): boolean {
  if (taken.length === 0) return false;
  const isDone = changeSlots(store, (own, node, sealKey) =>
    taken.includes(own.slot) ? makeSlotKey(sealKey, { node, slot: own.slot }, nowMs) : own,
  );
  if (isDone) log.warn("another record names this node's keys, so it has new ones", { slots: taken.join() });
  return isDone;
}

/** True if a key got a proof. Throws StoreError. */
export function addMissingProofs(store: Store, { slots }: Identity, log: Log): boolean {
  const missing = slots.filter(({ proof }) => proof === undefined).map(({ slot }) => slot);
  if (missing.length === 0) return false;
  const isDone = changeSlots(store, (own, node, sealKey) => {
    if (own.proof !== undefined) return own;
    const context = { node, slot: own.slot };
    const privateKey = openPrivateKey(sealKey, context, own.sealedPrivateKey);
    return { ...own, proof: makeProof(context, privateKey, own.publicKey) };
  });
  if (isDone) log.info("this node's keys have proofs of possession now", { slots: missing.join() });
  return isDone;
}

/** False if the keys cannot be opened, which the sync reports, or somebody else has changed them meanwhile. */
function changeSlots(
  store: Store,
  change: (own: IdentitySlot, node: string, sealKey: Uint8Array) => IdentitySlot,
): boolean {
  const before = store.identity();
  if (before === undefined) return false;
  try {
    const sealKey = readSealKey(readSettings(store).sealKeyFile);
    const slots = before.slots.map((own) => change(own, before.name, sealKey));
    return store.transaction(() => {
      const now = store.identity();
      if (JSON.stringify(now?.slots) !== JSON.stringify(before.slots)) return false;
      store.putIdentity({ ...before, ...now, slots });
      return true;
    });
  } catch (error) {
    if (error instanceof SealError) return false;
    throw error;
  }
}
