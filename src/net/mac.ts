// Ethernet addresses as lower-case, colon-separated text.
import { ParseError } from "./error.ts";

/** Canonical text of a 6-byte MAC address. Throws ParseError. */
export function parseMac(text: string): string {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text))
    throw new ParseError(`"${text}" is not a MAC address`);
  return text.toLowerCase();
}

/** The 6 bytes of a MAC address. Throws ParseError. */
export function macBytes(text: string): Uint8Array {
  return Uint8Array.fromHex(parseMac(text).replaceAll(":", ""));
}

/** Text of a link-layer address of any length; "" for none. */
export function formatMac(bytes: Uint8Array): string {
  const hex = bytes.toHex();
  let text = hex.slice(0, 2);
  for (let i = 2; i < hex.length; i += 2) text += `:${hex.slice(i, i + 2)}`;
  return text;
}
