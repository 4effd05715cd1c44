// Reads a node by iproute2 and SQLite, independent of the product: links,
// addresses, routes, rules, neighbours, rows.

import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";

/** The product's default for the routes that keep local pods out of the tunnel. */
export const podTable = 18099;

// biome-ignore lint/suspicious/noExplicitAny: iproute2's JSON has no types.
export type Json = any;

/** `ip -j ARGS`, parsed; nothing printed is an empty list. */
export function ip(space: Namespaces, ...args: string[]): Json[] {
  const text = space.must(["ip", "-j", ...args]).trim();
  return text === "" ? [] : (JSON.parse(text) as Json[]);
}

/** Destinations of the throw routes, sorted: "10.1.0.5", "fd00::5". A table that was never used has none. */
export function throwRoutes(node: Node): string[] {
  const of = (family: string) => {
    const { exitCode, stdout } = node.exec(["ip", "-j", family, "route", "show", "table", `${podTable}`]);
    return exitCode === 0 && stdout.trim() !== "" ? (JSON.parse(stdout) as Json[]) : [];
  };
  return [...of("-4"), ...of("-6")]
    .filter(({ type }) => type === "throw")
    .map(({ dst }) => dst as string)
    .sort();
}

/** Names of all interfaces, sorted. */
export function linkNames(space: Namespaces): string[] {
  return ip(space, "link", "show")
    .map(({ ifname }) => ifname as string)
    .sort();
}

/** The global addresses of an interface with their lengths, sorted. */
export function addressesOf(space: Namespaces, dev: string): string[] {
  return ip(space, "address", "show", "dev", dev)
    .flatMap((link) => link.addr_info as Json[])
    .filter(({ scope }) => scope === "global")
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
    .sort();
}

/** One line for every route of a space's main table, both families, sorted; without what the kernel adds by itself. */
export function mainRoutes(space: Namespaces): string[] {
  const lines = ["-4", "-6"].flatMap((family) =>
    space
      .must(["ip", family, "route", "show", "table", "main"])
      .split("\n")
      .map((line) => line.replace(/ expires \d+sec/, "").trim()),
  );
  return lines.filter((line) => line !== "" && !line.startsWith("fe80::/64")).sort();
}

const snapshots = [
  ["ip", "-o", "link", "show"],
  ["ip", "-o", "address", "show"],
  ["ip", "-4", "rule", "show"],
  ["ip", "-6", "rule", "show"],
  ["ip", "-4", "route", "show", "table", "all"],
  ["ip", "-6", "route", "show", "table", "all"],
  ["ip", "neighbour", "show", "nud", "permanent"],
];

/** Matches objects that the kernel makes by itself some time after a link is up: link-local addresses, and routes to own ones. */
const belated = /^\d+: \S+ +inet6 fe80:|^(local|anycast) \S*:|^fe80::\/64 |^multicast ff00::\/8 /;

/**
 * All network configuration of a space, without what changes by itself: carrier,
 * queues, life times, and what is belated.
 */
export function snapshot(space: Namespaces): string[] {
  return snapshots.flatMap((command) =>
    space
      .must(command)
      .split("\n")
      .map((line) =>
        line.replace(/ expires \d+sec|<[^>]*>|state \w+|valid_lft \w+|preferred_lft \w+| tentative/g, ""),
      )
      .filter((line) => line.trim() !== "" && !belated.test(line))
      .sort(),
  );
}

export interface KernelRows {
  readonly attachments: Json[];
  readonly leases: Json[];
}

/** The rows about pods in a node's store; empty if there is no store yet. Throws if SQLite finds it damaged. */
export function rows(node: Node, stateDir = node.stateDir): KernelRows {
  const command = [process.execPath, `${import.meta.dir}/rows.ts`, `${stateDir}/state.db`];
  const text = node.must(command);
  if (text === "") return noRows;
  const { integrity, attachments, leases } = JSON.parse(text);
  if (JSON.stringify(integrity) !== '[{"integrity_check":"ok"}]') throw new Error(JSON.stringify(integrity));
  return { attachments, leases };
}

/** Nothing of any pod. */
export const noRows: KernelRows = { attachments: [], leases: [] };
