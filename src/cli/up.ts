// `up` turns flags into identity and settings, checks them as a whole before the store changes, and
// then programs the mesh. If it is run again, it changes only the values that are given. Keys are
// made once and replaced only by --new-keys.

import { explainConflict } from "../doctor/port-holder.ts";
import { findConflicts } from "../plan/mesh/conflicts.ts";
import { findTakenClaims } from "../plan/peers/own-claims.ts";
import { slots } from "../plan/peers/path.ts";
import {
  parseSettings,
  type Settings,
  settingNames,
  showSetting,
  slotDevice,
} from "../plan/settings/settings.ts";
import { observeTransport } from "../reconcile/endpoints.ts";
import { noNode, readSettings } from "../reconcile/node-reader.ts";
import { observeHost } from "../reconcile/observe.ts";
import type { Session } from "../reconcile/session.ts";
import { PodAddresses } from "../sources/pod-addresses.ts";
import type { Identity, JsonValue } from "../state/model.ts";
import { readOrCreateSealKey } from "../state/seal.ts";
import { makeSlotKeys } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import { type Context, type Given, type Output, UsageError } from "./command.ts";
import { keepsKeys, readEndpoints, readIdentity } from "./identity.ts";
import { refuseHosts } from "./networks.ts";
import { readOverrides, refuseFixed } from "./overrides.ts";
import { isAgentThere, openSession, reportSync, syncAll } from "./session.ts";
import { settingFlag } from "./setting-flags.ts";
import { oneLine } from "./style.ts";

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
  const { identity, warnings } = readIdentity(given, before, endpoints, find);
  refuseTakenClaims(session, settings, identity, before);
  refuseHosts(session, settings, identity, given);
  const made = keepsKeys(given, before, identity)
    ? undefined
    : makeSlotKeys(readOrCreateSealKey(settings.sealKeyFile), identity.name, slots, context.nowMs);
  store.transaction(() => {
    for (const name of settingNames) store.putSetting(name, overrides[name] as JsonValue | undefined);
    if (made !== undefined) store.putRotation(undefined);
    // The operator decides: "on" tries again, and "off" leaves nothing to take back.
    if (given.values.has(settingFlag("hostEncryption"))) store.putHostRevert(undefined);
    // The identity is read again, because the agent may have rotated a key since.
    const own = made ?? (store.identity() as Identity).slots;
    store.putIdentity({ ...identity, slots: own, up: true });
    // The peers have no key of this node yet: the agent opens the gate of each after a handshake.
    if (before?.up !== true && isAgentThere(store.directory)) store.setGated(true);
  });
  // Pods may be older than the mesh: peers must know their addresses before packets are encrypted.
  new PodAddresses(session).update(readSettings(store));
  const report = syncAll(session);
  const { warning } = report.hostEncryption;
  const more = [...(warning === undefined ? [] : [warning]), ...findOverruled(store, given)];
  return reportSync(report, `Node ${identity.name} is up`, [...warnings, ...more]);
}

/** Warns of settings that were typed and have no effect while the cluster's mesh sets them. */
function findOverruled(store: Store, given: Given): string[] {
  const mesh = parseSettings(store.meshSettings());
  return settingNames.flatMap((name) => {
    if (store.meshSettings()[name] === undefined || !given.values.has(settingFlag(name))) return [];
    const said = showSetting(name, mesh[name] as never);
    return [
      `--${settingFlag(name)} is the cluster's, and all its nodes have ${said}: change it by \`wg-cni rollout\``,
    ];
  });
}

/** Refuses a peer's address or CIDR before anything changes: claiming it would cut this node off from that peer. */
function refuseTakenClaims(
  { store, kernel }: Session,
  settings: Settings,
  wanted: Pick<Identity, "name" | "nodeIPs" | "podCIDRs">,
  before: Identity | undefined,
): void {
  const own = slots.map((slot) => slotDevice(settings, slot));
  const hostIPs = kernel.host.addresses().flatMap(({ ip, dev }) => (own.includes(dev) ? [] : [ip]));
  const peers = store.peers().flatMap(({ record }) => (record.name === wanted.name ? [] : [record]));
  const taken = findTakenClaims({ wanted, before: before ?? noNode, hostIPs }, peers);
  if (taken.length > 0)
    throw new UsageError(
      `other nodes have claimed these already, so nothing was changed:\n  ${taken.map(oneLine).join("\n  ")}\nGive this node's own with --node-ip and --pod-cidr; if the other node is gone, \`wg-cni peer remove\` it first.`,
    );
}

function refuseConflicts({ kernel }: Session, settings: Settings, before: Identity | undefined): void {
  const ownKeys = before?.slots.map(({ publicKey }) => publicKey) ?? [];
  const host = observeHost(settings, kernel, { ownKeys, isApplied: false });
  const conflicts = findConflicts(settings, host).map((conflict) => explainConflict(settings, conflict));
  if (conflicts.length > 0)
    throw new UsageError(
      `this host already has what we would use, so nothing was changed:\n  ${conflicts.map(oneLine).join("\n  ")}`,
    );
}
