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
  return Uint8Array.from(parseMac(text).split(":"), (part) => Number.parseInt(part, 16));
}

/** Text of a link-layer address of any length; "" for none. */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
