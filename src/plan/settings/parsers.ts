// The declaration of one setting, and the parsers that several settings share: from JSON or
// a flag's text to a value, with "must be …" if it is none. Pure.

import { ParseError } from "../../net/error.ts";
import { type Exemption, formatExemption, parseExemption } from "../../net/exemption.ts";
import { anyOf } from "../../net/human-format.ts";
import { formatIpPort, type IpPort, parseIpPort } from "../../net/ip-port.ts";
import type { Mark } from "../../net/objects.ts";
import { comparePrefixes, parsePrefix } from "../../net/prefix.ts";
import type { Slot } from "../../net/record.ts";
import { scalarText } from "../../net/scalar-text.ts";

export interface Setting<T> {
  readonly default: T;
  /** The reason for the default; shown by `--help` and `status --json`. */
  readonly reason: string;
  readonly help: string;
  /** Placeholder for the value in `--help`. */
  readonly value: string;
  /** Parses JSON or a flag's text; throws ParseError with "must be …". */
  readonly parse: (raw: unknown) => T;
  /** The value as a person writes it on the command line. */
  readonly show?: (value: T) => string;
}

export function device(name: string, slot: Slot): Setting<string> {
  return {
    default: name,
    reason: "names the owner and the slot",
    help: `name of the WireGuard device of slot ${slot}`,
    value: "NAME",
    parse: (raw) => {
      if (typeof raw !== "string" || !/^[^\s/:.]{1,15}$/.test(raw))
        throw new ParseError(
          "must be an interface name of 1 to 15 characters, without space, dot, slash or colon",
        );
      return raw;
    },
  };
}

export function port(number: number, slot: Slot, reason: string): Setting<number> {
  return {
    default: number,
    reason,
    help: `UDP port of slot ${slot}`,
    value: "PORT",
    parse: integer(1, 65535),
  };
}

export function table(number: number, help: string): Setting<number> {
  const parse = (raw: unknown) => {
    const id = integer(1, 0xffffffff)(raw);
    if (id >= 253 && id <= 255) throw new ParseError("must not be 253, 254 or 255: the kernel's own tables");
    return id;
  };
  return {
    default: number,
    reason: "far from the ranges CNIs and distributions use",
    help,
    value: "N",
    parse,
  };
}

export function oneOf<T extends string>(...choices: readonly T[]): (raw: unknown) => T {
  return (raw) => {
    if (choices.includes(raw as T)) return raw as T;
    throw new ParseError(`must be ${anyOf(choices)}`);
  };
}

export function integer(min: number, max: number): (raw: unknown) => number {
  return (raw) => {
    const value = typeof raw === "string" && /^(0x[0-9a-fA-F]+|[0-9]+)$/.test(raw) ? Number(raw) : raw;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
      throw new ParseError(`must be a whole number from ${min} to ${max}`);
    return value;
  };
}

export function parseMark(raw: unknown): Mark {
  if (typeof raw === "object" && raw !== null && "mark" in raw && "mask" in raw)
    return parseMark(`${scalarText(raw.mark)}/${scalarText(raw.mask)}`);
  const [markText, maskText, extra] = scalarText(raw).split("/");
  const bits = integer(1, 0xffffffff);
  try {
    const mark = bits(markText);
    const mask = bits(maskText);
    if (extra === undefined && bitsOf(mask) === 2 && bitsOf(mark) === 1 && (mark & ~mask) === 0)
      return { mark, mask };
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
  }
  throw new ParseError(
    "must be MARK/MASK, for example 0x20000000/0x60000000: a mask of two bits, and one of them as the mark",
  );
}

function bitsOf(mask: number): number {
  return mask.toString(2).replaceAll("0", "").length;
}

export function formatMark({ mark, mask }: Mark): string {
  return `0x${mark.toString(16)}/0x${mask.toString(16)}`;
}

export function cidrList(raw: unknown): readonly string[] {
  return listOf(raw, "CIDRs")
    .map((item) => parsePrefix(scalarText(item)))
    .sort(comparePrefixes);
}

/** "192.0.2.1", "192.0.2.1:6443", "[2001:db8::1]:6443", "tcp/22", "udp/53". */
export function exemptionList(raw: unknown): readonly Exemption[] {
  const items = listOf(raw, "addresses and ports");
  // The store has them as objects.
  return items.map((item) =>
    parseExemption(typeof item === "string" ? item : formatExemption(item as Exemption)),
  );
}

/** Addresses with a port, such as "192.0.2.1:6443". */
export function ipPortList(raw: unknown): readonly IpPort[] {
  const items = listOf(raw, "IP:PORT");
  return items.map((item) => parseIpPort(typeof item === "string" ? item : formatIpPort(item as IpPort)));
}

export function showIpPorts(ipPorts: readonly IpPort[]): string {
  return ipPorts.map(formatIpPort).join(",");
}

export function showExemptions(exemptions: readonly Exemption[]): string {
  return exemptions.map(formatExemption).join(",");
}

function listOf(raw: unknown, what: string): readonly unknown[] {
  const items = typeof raw === "string" ? raw.split(",").filter((item) => item !== "") : raw;
  if (!Array.isArray(items)) throw new ParseError(`must be a list of ${what}`);
  return items;
}

/** A switch: on or off. */
export function onOff(raw: unknown): boolean {
  if (raw === true || raw === "on" || raw === "true") return true;
  if (raw === false || raw === "off" || raw === "false") return false;
  throw new ParseError("must be on or off");
}

export function showOnOff(value: boolean): string {
  return value ? "on" : "off";
}

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** A time such as "24h" or "90m" to whole seconds; "off" is 0 if `mayBeOff`. */
export function duration(minSeconds: number, mayBeOff: boolean): (raw: unknown) => number {
  return (raw) => {
    const match = /^(\d{1,7})(s|m|h|d)?$/.exec(scalarText(raw));
    const seconds = raw === "off" ? 0 : Number(match?.[1]) * (unitSeconds[match?.[2] ?? "s"] as number);
    if (mayBeOff && seconds === 0) return 0;
    if (!(seconds >= minSeconds))
      throw new ParseError(
        `must be a time of at least ${showDuration(minSeconds)}, such as 90m or 24h${mayBeOff ? ", or off" : ""}`,
      );
    return seconds;
  };
}

export function showDuration(seconds: number): string {
  if (seconds === 0) return "off";
  const unit = ["d", "h", "m"].find((name) => seconds % (unitSeconds[name] as number) === 0) ?? "s";
  return `${seconds / (unitSeconds[unit] as number)}${unit}`;
}

/** The name of an interface, or "" for none. */
export function interfaceName(raw: unknown): string {
  if (raw === "") return "";
  if (typeof raw === "string" && /^[^\s/:]{1,15}$/.test(raw)) return raw;
  throw new ParseError("must be an interface name of 1 to 15 characters, without space, slash or colon");
}

export function absolutePath(raw: unknown): string {
  if (typeof raw !== "string" || !raw.startsWith("/")) throw new ParseError("must be an absolute path");
  return raw;
}

/** The Kubernetes API as seen from a pod, or by a kubeconfig file; "" for none. */
export function kubeconfigPlace(raw: unknown): string {
  if (raw === "" || raw === "in-cluster") return raw;
  if (typeof raw === "string" && raw.startsWith("/")) return raw;
  throw new ParseError("must be in-cluster or the absolute path of a kubeconfig file");
}

/** "ADDRESS:PORT" to listen on, canonical; "off" for nowhere. */
export function listenAddress(raw: unknown): string {
  if (raw === "off") return "off";
  const text = scalarText(raw);
  try {
    return formatIpPort(parseIpPort(text));
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new ParseError("must be ADDRESS:PORT, for example 127.0.0.1:9586 or [::1]:9586, or off");
  }
}
