// Proofs of possession: a slot's public key, signed with its private key for one node and one slot. A
// node can publish a key that it has read in another's record, and cannot prove it. Not imported on the
// CNI path, which makes no proof. sources/proof-check.ts verifies proofs.
import { keyBytes } from "../net/key.ts";
import type { Slot } from "../net/record.ts";
import { sign } from "./xeddsa.ts";

const domain = "wg-cni proof of possession v1";

/** The node and slot that a proof is made for; it proves nothing for another. */
export interface ProofContext {
  readonly node: string;
  readonly slot: Slot;
}

/** The proof of a key pair as base64; the same for as long as node, slot and key are. */
export function makeProof(context: ProofContext, privateKey: string, publicKey: string): string {
  return sign(keyBytes(privateKey), proofMessage(context, publicKey)).toBase64();
}

/** Neither a node's name nor a slot has a zero byte, so no two contexts have one message. */
export function proofMessage({ node, slot }: ProofContext, publicKey: string): Uint8Array {
  return new TextEncoder().encode(`${domain}\0${node}\0${slot}\0${publicKey}`);
}
