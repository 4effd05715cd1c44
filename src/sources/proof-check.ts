// Verifying proofs of possession, by BoringSSL's Ed25519: twenty times as fast as one in JavaScript,
// and thousands are verified. Its module takes ten milliseconds to load, so nothing that a CNI call
// loads imports this.
import { createPublicKey, verify as verifyEd25519 } from "node:crypto";
import { keyBytes } from "../net/key.ts";
import type { SlotRecord } from "../net/record.ts";
import { proofMessage } from "../state/proof.ts";
import { edwardsPoint } from "../state/xeddsa.ts";

const signatureBytes = 64;
/** SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), without the key. */
const keyInfo = Uint8Array.fromHex("302a300506032b6570032100");

/** False if the proof is another node's, slot's or key's, damaged, or absent. */
export function isProven(node: string, { slot, publicKey, proof }: SlotRecord): boolean {
  if (proof === undefined) return false;
  const message = proofMessage({ node, slot }, publicKey);
  return verify(keyBytes(publicKey), message, Uint8Array.fromBase64(proof));
}

/** False for a signature that is not of this message and X25519 public key, or of a key that is no point of the curve. */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const point = edwardsPoint(publicKey);
  if (signature.length !== signatureBytes || point === undefined) return false;
  const key = createPublicKey({ key: Buffer.concat([keyInfo, point]), format: "der", type: "spki" });
  return verifyEd25519(null, message, key, signature);
}
