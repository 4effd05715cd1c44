// Lists network configuration as text, to show that it is the same before and after. Reads only.

import { existsSync, readdirSync } from "node:fs";
import type { Node } from "../../test/lab/node.ts";

const commands = [
  ["ip", "-o", "link", "show"],
  ["ip", "-4", "rule", "show"],
  ["ip", "-6", "rule", "show"],
  ["ip", "-4", "route", "show", "table", "all"],
  ["ip", "-6", "route", "show", "table", "all"],
];

/** The objects that a failed demo might leave behind. */
const directories = [
  "/run/netns",
  "/run/wireguard",
  "/run/wg-cni",
  "/var/lib/wg-cni",
  "/var/lib/cni",
  "/etc/wg-cni",
];

/** Links, rules, routes and our directories of the machine itself. */
export function machine(): string[] {
  const links = commands.flatMap((command) => stable(Bun.spawnSync(command).stdout.toString()));
  return [
    ...links,
    ...directories.map((path) => `${path}: ${existsSync(path) ? readdirSync(path).join(" ") : "absent"}`),
  ];
}

/** Links, rules and routes of a lab node. */
export function nodeState(node: Node): string[] {
  return commands.flatMap((command) => stable(node.must(command)));
}

/** Lines that are in one of the two only, marked as diff(1) does. */
export function differences(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
  ];
}

/**
 * Removes parts that change by themselves: time to live of routes, carrier and queue
 * state of links, and the local table, which follows addresses and carrier.
 */
function stable(text: string): string[] {
  return text
    .replace(/ expires \d+sec/g, "")
    .replace(/<[^>]*>|state \w+| linkdown/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.includes("table local"));
}
