// A node that was away (left the mesh, or was taken out of the cluster) comes back with keys that
// everybody has read. Another record may name them by now, and the API takes no key twice: this node
// would stay outside. Nobody has a session with a key that this node's record does not name, so it is
// exchanged for a new one at no cost.
import type { Slot } from "../net/record.ts";
import { readSettings } from "../reconcile/node.ts";
import { readSealKey, SealError } from "../state/seal.ts";
import { makeSlotKey } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "./log.ts";

/** True where keys were exchanged; `taken`: the slots whose keys another record has. Throws StoreError. */
export function replaceTakenKeys(store: Store, taken: readonly Slot[], log: Log, nowMs: number): boolean {
  const before = store.identity();
  if (before === undefined || taken.length === 0) return false;
  try {
    const sealKey = readSealKey(readSettings(store).sealKeyFile);
    const slots = before.slots.map((own) =>
      taken.includes(own.slot) ? makeSlotKey(sealKey, { node: before.name, slot: own.slot }, nowMs) : own,
    );
    const isDone = store.transaction(() => {
      const now = store.identity();
      // Somebody was faster: what is taken is to be looked for anew.
      if (JSON.stringify(now?.slots) !== JSON.stringify(before.slots)) return false;
      store.putIdentity({ ...before, ...now, slots });
      return true;
    });
    if (isDone)
      log.warn("another record names this node's keys, so it has new ones", { slots: taken.join() });
    return isDone;
  } catch (error) {
    // The refusal of the API stays, and says what is wrong.
    if (error instanceof SealError) return false;
    throw error;
  }
}
