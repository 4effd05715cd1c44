// `up`: what was typed becomes identity and settings, checked as a whole before
// the store changes; then the mesh is programmed. Run again it changes only what
// is given. Keys are made once and replaced only by --new-keys.

import { ParseError } from "../net/error.ts";
import { findConflicts } from "../plan/conflicts.ts";
import { slots } from "../plan/path.ts";
import {
  parseSetting,
  parseSettings,
  type SettingName,
  type Settings,
  settingNames,
} from "../plan/settings.ts";
import { observeHost } from "../reconcile/observe.ts";
import type { Session } from "../reconcile/session.ts";
import { observeTransport } from "../reconcile/transport.ts";
import type { Identity, JsonValue } from "../state/model.ts";
import { readOrCreateSealKey } from "../state/seal.ts";
import { makeSlotKeys } from "../state/slot-key.ts";
import { type Context, findValue, type Given, type Output, UsageError } from "./command.ts";
import { readEndpoints, readIdentity } from "./identity.ts";
import { openSession, reportSync, syncAll } from "./session.ts";
import { settingFlag } from "./setting-flags.ts";

/** Settings that name what the kernel holds: changed under a running mesh, the old ones would be left behind. */
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

export function up(context: Context): Output {
  const { given } = context;
  using session = openSession(context);
  const { store } = session;
  const before = store.identity();
  const endpoints = readEndpoints(given);
  const overrides = readOverrides(given, store.settings(), endpoints?.port);
  const settings = parseSettings(overrides);
  if (before?.up) refuseFixed(parseSettings(store.settings()), settings);
  else refuseConflicts(session, settings, before);
  const find = () => observeTransport(settings, session.kernel);
  const { identity, remarks } = readIdentity(given, before, endpoints, find);
  const keepsKeys = before?.name === identity.name && !given.switches.has("new-keys");
  const made = keepsKeys
    ? undefined
    : makeSlotKeys(readOrCreateSealKey(settings.sealKeyFile), identity.name, slots, context.nowMs);
  store.transaction(() => {
    for (const name of settingNames) store.putSetting(name, overrides[name] as JsonValue | undefined);
    if (made !== undefined) store.putRotation(undefined);
    // The operator's word, either way: on is tried again, off has nothing to be taken back.
    if (given.values.has(settingFlag("hostEncryption"))) store.putHostRevert(undefined);
    // Read again: the agent may have exchanged a key since.
    const own = made ?? (store.identity() as Identity).slots;
    store.putIdentity({ ...identity, slots: own, up: true });
  });
  const report = syncAll(session);
  const { remark } = report.hostEncryption;
  const more = remark === undefined ? [] : [remark];
  return reportSync(report, `Node ${identity.name} is up`, [...remarks, ...more]);
}

/** The settings as they will be stored: what is there, changed by what was typed. */
function readOverrides(
  given: Given,
  stored: Record<string, unknown>,
  endpointPort: number | undefined,
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
    else overrides[name] = attempt(`--${settingFlag(name)}`, () => parseSetting(name, text));
  }
  return overrides;
}

function attempt<T>(flag: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ParseError) throw new UsageError(`${flag}: ${error.message}`);
    throw error;
  }
}

function refuseFixed(now: Settings, next: Settings): void {
  const changed = fixedWhileUp.filter((name) => JSON.stringify(now[name]) !== JSON.stringify(next[name]));
  if (changed.length === 0) return;
  const flags = changed.map((name) => `--${settingFlag(name)}`).join(", ");
  throw new UsageError(`${flags} cannot change while the node is up: run \`wg-cni down\` first`);
}

function refuseConflicts({ kernel }: Session, settings: Settings, before: Identity | undefined): void {
  const ownKeys = before?.slots.map(({ publicKey }) => publicKey) ?? [];
  const conflicts = findConflicts(settings, observeHost(settings, kernel, ownKeys));
  if (conflicts.length > 0)
    throw new UsageError(
      `this host already has what we would use, so nothing was changed:\n  ${conflicts.join("\n  ")}`,
    );
}
