// WireGuard keys as canonical base64 text of 32 bytes (wg(8)). Making keys and
// deriving public ones needs X25519, and is in state/keys.ts.
import { ParseError } from "./error.ts";

const keyBytesCount = 32;

/** Canonical text of a key. Throws ParseError, without repeating the text: it may be a private key. */
export function parseKey(text: string): string {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text))
    throw new ParseError("not a WireGuard key (expected 44 characters of base64, as `wg pubkey` prints)");
  return formatKey(keyBytes(text));
}

/** The 32 bytes of a key's text. */
export function keyBytes(text: string): Uint8Array {
  return Uint8Array.fromBase64(text);
}

/** Canonical text of 32 key bytes. Throws ParseError on any other length. */
export function formatKey(bytes: Uint8Array): string {
  if (bytes.length !== keyBytesCount)
    throw new ParseError(`a WireGuard key has 32 bytes, not ${bytes.length}`);
  return bytes.toBase64();
}

/** The kernel shows "no key" as 32 zero bytes; such a key is never a peer's. */
export const zeroKey = formatKey(new Uint8Array(keyBytesCount));

/**
 * Public keys of small order (RFC 7748, 6.1): whatever private key meets them, the shared secret is
 * zero, so that they prove and protect nothing.
 */
const smallOrderKeys: ReadonlySet<string> = new Set([
  zeroKey,
  "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
  "4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
  "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
  "7P///////////////////////////////////////38=",
]);

/**
 * Canonical text of another node's public key; the zero key is none. Throws ParseError also for what
 * would be the same key in another encoding, and for keys of small order.
 */
export function parsePublicKey(text: string): string {
  const key = parseKey(text);
  if (key !== zeroKey && smallOrderKeys.has(key))
    throw new ParseError("no node's public key: it is of small order, so that it protects nothing");
  const bytes = keyBytes(key);
  // The field has 2^255 - 19 elements: 19 keys with a lower 255 bits, and all with the highest bit, have another encoding.
  const [lowest, highest] = [bytes[0] as number, bytes[31] as number];
  const isBeyond = highest === 0x7f && lowest >= 0xed && bytes.subarray(1, 31).every((byte) => byte === 0xff);
  if (highest > 0x7f || isBeyond)
    throw new ParseError("not encoded as `wg pubkey` prints public keys: it is beyond the field's order");
  return key;
}

const proofText = /^[A-Za-z0-9+/]{85}[AQgw]==$/;

/** The text of a proof of possession: 64 bytes as base64. Throws ParseError. */
export function parseProof(text: string): string {
  if (!proofText.test(text))
    throw new ParseError(
      "not a proof of possession (expected 88 characters of base64, as `wg-cni node show --json` prints)",
    );
  return text;
}

/** Lower-case hex of a key's text, as the UAPI socket writes keys. */
export function keyToHex(text: string): string {
  return keyBytes(text).toHex();
}

/** Canonical text of 64 hex digits. Throws ParseError. */
export function keyFromHex(hex: string): string {
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new ParseError("not a WireGuard key (expected 64 hex digits)");
  return formatKey(Uint8Array.fromHex(hex));
}
