// XEdDSA signatures with X25519 keys (Signal's specification, revision 1): the key pair of a WireGuard
// device also signs. The nonce is derived from key and message alone, as in RFC 8032 (the
// specification's Z is 64 zero bytes), so that one message always has one signature. Not imported on
// the CNI path, which signs nothing.
import { ed25519 } from "@noble/curves/ed25519.js";

const { BASE, Fp, Fn } = ed25519.Point;
/** The hash of the nonce is another one than the challenge's: 2^256 - 2, which encodes no point (hash1). */
const nonceDomain = new Uint8Array(32).fill(0xff).with(0, 0xfe);
const noRandomness = new Uint8Array(64);

/** Signs with the 32 bytes of an X25519 private key. */
export function sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array {
  const { scalar, point } = edwardsKeyPair(privateKey);
  const secret = Fn.toBytes(scalar);
  const nonce = hashToScalar(nonceDomain, secret, message, noRandomness);
  const commitment = BASE.multiply(nonce).toBytes();
  const challenge = hashToScalar(commitment, point, message);
  const response = Fn.add(nonce, Fn.mul(challenge, scalar));
  return concat(commitment, Fn.toBytes(response));
}

/** The key pair whose point has the sign bit 0, as one that was made from the public key has. */
function edwardsKeyPair(privateKey: Uint8Array): { readonly scalar: bigint; readonly point: Uint8Array } {
  const scalar = Fn.create(littleEndian(clamp(privateKey)));
  const encoded = BASE.multiply(scalar).toBytes();
  const isNegative = (encoded[31] as number) >= 0x80;
  encoded[31] = (encoded[31] as number) & 0x7f;
  return { scalar: isNegative ? Fn.neg(scalar) : scalar, point: encoded };
}

/**
 * The Ed25519 public key that verifies what the X25519 key's owner signs, by the birational map
 * y = (u - 1) / (u + 1) (RFC 7748, 4.1); undefined if there is no such y.
 */
export function edwardsPoint(publicKey: Uint8Array): Uint8Array | undefined {
  const u = littleEndian(publicKey);
  if (!Fp.isValid(u) || Fp.eql(u, Fp.neg(Fp.ONE))) return undefined;
  return Fp.toBytes(Fp.div(Fp.sub(u, Fp.ONE), Fp.add(u, Fp.ONE)));
}

function hashToScalar(...parts: readonly Uint8Array[]): bigint {
  return Fn.create(littleEndian(new Bun.CryptoHasher("sha512").update(concat(...parts)).digest()));
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.slice().reverse().toHex()}`);
}

/** RFC 7748, 5. */
function clamp(privateKey: Uint8Array): Uint8Array {
  const [first, last] = [privateKey[0] as number, privateKey[31] as number];
  return privateKey.with(0, first & 0xf8).with(31, (last & 0x7f) | 0x40);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
