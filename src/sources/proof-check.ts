// Verifies proofs of possession with BoringSSL's Ed25519, which is twenty times as fast as one in
// JavaScript; thousands are verified. The module takes ten milliseconds to load, so nothing that a
// CNI call loads imports this file.
import { createPublicKey, verify as verifyEd25519 } from "node:crypto";
import { keyBytes } from "../net/key.ts";
import type { SlotRecord } from "../net/record.ts";
import { proofMessage } from "../state/proof.ts";
import { edwardsPoint } from "../state/xeddsa.ts";

const signatureBytes = 64;
/** SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), without the key. */
const keyInfo = Uint8Array.fromHex("302a300506032b6570032100");

/** Returns false if the proof is absent, damaged, or belongs to another node, slot or key. */
export function isProven(node: string, { slot, publicKey, proof }: SlotRecord): boolean {
  if (proof === undefined) return false;
  const message = proofMessage({ node, slot }, publicKey);
  return verify(keyBytes(publicKey), message, Uint8Array.fromBase64(proof));
}

/** Returns false if the signature does not fit this message and X25519 public key, or the key is not a point of the curve. */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const point = edwardsPoint(publicKey);
  if (signature.length !== signatureBytes || point === undefined) return false;
  const key = createPublicKey({ key: Buffer.concat([keyInfo, point]), format: "der", type: "spki" });
  return verifyEd25519(null, message, key, signature);
}
