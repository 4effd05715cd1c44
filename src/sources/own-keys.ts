// Repairs this node's keys while the agent runs.
//
//   another record has a key      A node that was away (it left the mesh or the cluster) comes back with
//                                 keys that every node has read. Another record may name them by now,
//                                 and the API accepts a key only once, so this node would stay outside.
//                                 No peer has a session with a key that this node's record does not
//                                 name, so replacing it costs nothing.
//   a key has no proof            An older version made the key. It gets a proof; otherwise a node that
//                                 copies the key would count as much as its owner until the next rotation.
import { attempt } from "../net/error.ts";
import type { Slot } from "../net/record.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import type { Identity, IdentitySlot } from "../state/model.ts";
import { makeProof } from "../state/proof.ts";
import { openPrivateKey, readSealKey, SealError } from "../state/seal.ts";
import { makeSlotKey } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "../telemetry/log.ts";

/** Returns true if it replaced keys; `taken`: the slots whose keys another record names. Throws StoreError. */
export function replaceTakenKeys(store: Store, taken: readonly Slot[], log: Log, nowMs: number): boolean {
  if (taken.length === 0) return false;
  const isDone = changeSlots(store, (own, node, sealKey) =>
    taken.includes(own.slot) ? makeSlotKey(sealKey, { node, slot: own.slot }, nowMs) : own,
  );
  if (isDone) log.warn("another record names this node's keys, so it has new ones", { slots: taken.join() });
  return isDone;
}

/** Returns true if a key got a proof. Throws StoreError. */
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

/** Returns false if the keys cannot be opened, which the sync reports, or another process changed them meanwhile. */
function changeSlots(
  store: Store,
  change: (own: IdentitySlot, node: string, sealKey: Uint8Array) => IdentitySlot,
): boolean {
  const before = store.identity();
  if (before === undefined) return false;
  const changeAll = () => {
    const sealKey = readSealKey(readSettings(store).sealKeyFile);
    return before.slots.map((own) => change(own, before.name, sealKey));
  };
  const slots = attempt(SealError, changeAll, () => undefined);
  if (slots === undefined) return false;
  return store.transaction(() => {
    const now = store.identity();
    if (JSON.stringify(now?.slots) !== JSON.stringify(before.slots)) return false;
    store.putIdentity({ ...before, ...now, slots });
    return true;
  });
}
