// Makes WireGuard key pairs by X25519 (RFC 7748). The CNI path makes no keys and does not import it.
import { x25519 } from "@noble/curves/ed25519.js";
import { formatKey, keyBytes } from "../net/key.ts";

export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** A new key pair; `seed` is 32 random bytes. */
export function generateKeyPair(seed: Uint8Array = crypto.getRandomValues(new Uint8Array(32))): KeyPair {
  const privateKey = formatKey(clamp(seed));
  return { privateKey, publicKey: publicKeyOf(privateKey) };
}

/** The public key that belongs to a private key's text. */
export function publicKeyOf(privateKey: string): string {
  // Not getPublicKey: it makes tables first, which take ten times as long as the one or two keys of a process.
  return formatKey(x25519.scalarMult(keyBytes(privateKey), x25519.GuBytes));
}

/** RFC 7748, 5: the kernel clamps what it is given, so only clamped keys read back as they were written. */
function clamp(seed: Uint8Array): Uint8Array {
  const bytes = seed.slice();
  const last = bytes.length - 1;
  bytes[0] = (bytes[0] ?? 0) & 0b1111_1000;
  bytes[last] = ((bytes[last] ?? 0) & 0b0111_1111) | 0b0100_0000;
  return bytes;
}
