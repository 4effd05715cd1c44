// A new key of one of the node's slots, sealed as the store keeps it. Not
// imported on the CNI path, which makes no key.
import type { Slot } from "../net/record.ts";
import { generateKeyPair } from "./keys.ts";
import type { IdentitySlot } from "./model.ts";
import { makeProof } from "./proof.ts";
import { type SealContext, sealPrivateKey } from "./seal.ts";

/** `nowMs`: Unix milliseconds. */
export function makeSlotKey(sealKey: Uint8Array, { node, slot }: SealContext, nowMs: number): IdentitySlot {
  const { privateKey, publicKey } = generateKeyPair();
  return {
    slot,
    createdAtMs: nowMs,
    publicKey,
    sealedPrivateKey: sealPrivateKey(sealKey, { node, slot }, privateKey),
    state: "active",
    proof: makeProof({ node, slot }, privateKey, publicKey),
  };
}

/** New keys for all of the node's slots. */
export function makeSlotKeys(
  sealKey: Uint8Array,
  node: string,
  slots: readonly Slot[],
  nowMs: number,
): IdentitySlot[] {
  return slots.map((slot) => makeSlotKey(sealKey, { node, slot }, nowMs));
}
