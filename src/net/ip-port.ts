// An address with a TCP or UDP port: "192.0.2.1:6443", "[2001:db8::1]:6443".
import { ParseError } from "./error.ts";
import { familyOf, isIp, parseIp } from "./ip.ts";

export interface IpPort {
  /** Canonical. */
  readonly ip: string;
  readonly port: number;
}

const maxPort = 65_535;

/** Throws ParseError. */
export function parseIpPort(text: string): IpPort {
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, Math.max(colon, 0));
  const isBracketed = host.startsWith("[") && host.endsWith("]");
  const ip = isBracketed ? host.slice(1, -1) : host;
  // Without brackets the port cannot be told from the last group of an IPv6 address.
  if (!isIp(ip) || isBracketed !== (familyOf(ip) === 6))
    throw new ParseError(`"${text}" is not IP:PORT (192.0.2.1:6443 or [2001:db8::1]:6443)`);
  return { ip: parseIp(ip), port: parsePort(text, text.slice(colon + 1)) };
}

export function formatIpPort({ ip, port }: IpPort): string {
  return familyOf(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Parses the port `digits`, a part of `text`. Throws ParseError that names both. */
export function parsePort(text: string, digits: string): number {
  const port = Number(digits);
  // Text that is not the number's own ("", "0x50", "080") is a slip, or octal to other programs.
  if (!Number.isInteger(port) || port < 1 || port > maxPort || String(port) !== digits)
    throw new ParseError(`"${text}" has the port "${digits}", not a number from 1 to ${maxPort}`);
  return port;
}
