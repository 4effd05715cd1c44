// The node's settings: names, bounds and defaults, each with its reason. The
// store keeps only what was set (key and JSON value); everything else is
// derived here, so that `status` can say where a value comes from. Pure.
import { attempt, ParseError } from "../../net/error.ts";
import type { Slot } from "../../net/record.ts";
import { suggest } from "../../net/suggest.ts";
import type { Setting } from "./parsers.ts";
import { settingTable } from "./table.ts";

/** The values by name, in the units that the rows of the table name. */
export type Settings = { readonly [K in keyof typeof settingTable]: (typeof settingTable)[K]["default"] };
export type Mode = Settings["mode"];
export type BackendChoice = Settings["backend"];
export type PodAddresses = Settings["podAddresses"];

export type SettingName = keyof Settings;
export const settingNames = Object.keys(settingTable) as SettingName[];

/**
 * Reads the settings from the store's values. Throws ParseError naming the setting, so
 * that a value written by another version is explained and not partly obeyed.
 */
export function parseSettings(overrides: Readonly<Record<string, unknown>>): Settings {
  const values: { [K in SettingName]?: unknown } = {};
  for (const name of settingNames) values[name] = settingTable[name].default;
  const settings = values as Settings;
  // Every ADD runs this, mostly without overrides: the defaults do not clash.
  const given = Object.keys(overrides);
  if (given.length === 0) return settings;
  for (const key of given) {
    const name = parseSettingName(key);
    if (overrides[name] !== undefined) values[name] = parseSetting(name, overrides[name]);
  }
  refuseClashes(settings);
  return settings;
}

/** Parses one setting's value from JSON or a flag's text. Throws ParseError that names it. */
export function parseSetting<K extends SettingName>(name: K, raw: unknown): Settings[K] {
  const parse = () => settingTable[name].parse(raw) as Settings[K];
  return attempt(ParseError, parse, ({ message }) => {
    throw new ParseError(`${name}: ${JSON.stringify(raw)} ${message}`);
  });
}

/** Returns the setting called `name`. Throws ParseError with the nearest name. */
export function parseSettingName(name: string): SettingName {
  if (name in settingTable) return name as SettingName;
  const near = suggest(name, settingNames);
  throw new ParseError(
    `there is no setting "${name}"${near === undefined ? "" : `; did you mean "${near}"?`}`,
  );
}

/** Formats a setting's value as a person writes it. */
export function showSetting<K extends SettingName>(name: K, value: Settings[K]): string {
  const settings: { readonly [N in SettingName]: Setting<Settings[N]> } = settingTable;
  const { show } = settings[name];
  return show === undefined ? String(value) : show(value);
}

/** True if the agent publishes changes of this node to its peers. */
export function isAnnounced({
  recordsDir,
  kubeconfig,
}: Pick<Settings, "recordsDir" | "kubeconfig">): boolean {
  return recordsDir !== "" || kubeconfig !== "";
}

/** Returns the name of a slot's device. */
export function slotDevice(settings: Settings, slot: Slot): string {
  return slot === "a" ? settings.deviceA : settings.deviceB;
}

/** Returns the UDP port that a slot listens on. */
export function slotPort(settings: Settings, slot: Slot): number {
  return slot === "a" ? settings.portA : settings.portB;
}

function refuseClashes(settings: Settings): void {
  const pairs = [
    ["deviceA", "deviceB"],
    ["portA", "portB"],
    ["hostTable", "podTable"],
  ] as const;
  for (const [a, b] of pairs)
    if (settings[a] === settings[b])
      throw new ParseError(`${a} and ${b} must differ, both are ${settings[a]}`);
}
