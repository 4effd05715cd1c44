// Checks settings that were typed, before any of them is stored.
import { attempt, ParseError } from "../net/error.ts";
import { refuseImpossibleCIDRs } from "../plan/peers/cluster-cidrs.ts";
import { parseSetting, type SettingName, type Settings, settingNames } from "../plan/settings/settings.ts";
import { findValue, type Given, UsageError } from "./command.ts";
import { settingFlag } from "./setting-flags.ts";

/** Settings that name objects of the kernel: if they changed under a running mesh, the old objects would be left behind. */
const fixedWhileUp: readonly SettingName[] = [
  "deviceA",
  "deviceB",
  "portA",
  "portB",
  "fwmark",
  "rulePriority",
  "hostTable",
  "podTable",
  "routeProtocol",
  "backend",
  "sealKeyFile",
];

/** Returns the settings to store: the stored ones, changed by those that were typed. Throws UsageError. */
export function readOverrides(
  given: Given,
  stored: Record<string, unknown>,
  endpointPort?: number,
): Record<string, unknown> {
  const overrides: Record<string, unknown> = { ...stored };
  if (endpointPort !== undefined) {
    overrides["portA"] = endpointPort;
    overrides["portB"] = endpointPort + 1;
  }
  for (const name of settingNames) {
    const text = findValue(given, settingFlag(name));
    if (text === undefined) continue;
    if (text === "default") delete overrides[name];
    else overrides[name] = parseFlag(`--${settingFlag(name)}`, () => parseTyped(name, text));
  }
  return overrides;
}

/** Reads the stored settings as they are: a sync leaves out the values that it cannot use. */
function parseTyped(name: SettingName, text: string): unknown {
  const value = parseSetting(name, text);
  const cidrs = text.split(",").filter((cidr) => cidr !== "");
  if (name === "clusterCIDRs") refuseImpossibleCIDRs(cidrs);
  if (name === "nodeCIDRs") refuseImpossibleCIDRs(cidrs, "nodes");
  return value;
}

/** Throws UsageError if the node is up and cannot change to `next`. */
export function refuseFixed(now: Settings, next: Settings): void {
  const changed = fixedWhileUp.filter((name) => JSON.stringify(now[name]) !== JSON.stringify(next[name]));
  if (changed.length === 0) return;
  const flags = changed.map((name) => `--${settingFlag(name)}`).join(", ");
  throw new UsageError(`${flags} cannot change while the node is up: run \`wg-cni down\` first`);
}

function parseFlag<T>(flag: string, parse: () => T): T {
  return attempt(ParseError, parse, ({ message }) => {
    throw new UsageError(`${flag}: ${message}`);
  });
}
