// WireGuard keys as canonical base64 text of 32 bytes (wg(8)). Making keys and
// deriving public ones needs X25519 and lives where it is used.
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

/** Lower-case hex of a key's text, as the UAPI socket writes keys. */
export function keyToHex(text: string): string {
  return keyBytes(text).toHex();
}

/** Canonical text of 64 hex digits. Throws ParseError. */
export function keyFromHex(hex: string): string {
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new ParseError("not a WireGuard key (expected 64 hex digits)");
  return formatKey(Uint8Array.fromHex(hex));
}
