// The commands print what this node publishes about itself: its record, its public keys
// and its version. They read the store and not the kernel.

import { formatAge } from "../net/human-format.ts";
import type { NodeRecord } from "../net/record.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { ownRecord, readSettings } from "../reconcile/node-reader.ts";
import { NotUpError } from "../reconcile/sync.ts";
import type { Identity } from "../state/model.ts";
import type { Context, Output } from "./command.ts";
import { openSession } from "./session.ts";
import { alignColumns } from "./style.ts";

export function nodeShow(context: Context): Output {
  const record = readRecord(context);
  const list = (items: readonly string[]) => (items.length === 0 ? "none" : items.join(", "));
  return {
    json: record,
    text: (style) =>
      `${alignColumns([
        [style.bold("node"), record.name],
        ...record.slots.map((slot) => [
          style.bold(`slot ${slot.slot}`),
          `${slot.publicKey}  port ${slot.port}  ${slot.state}`,
        ]),
        [style.bold("endpoints"), list(record.endpoints)],
        [style.bold("node IPs"), list(record.nodeIPs)],
        [style.bold("pod CIDRs"), list(record.podCIDRs)],
      ])}\n`,
  };
}

export function keyShow(context: Context): Output {
  const { slots } = readIdentity(context).identity;
  const shown = slots.map(({ slot, publicKey, state, createdAtMs }) => ({
    slot,
    ...{ publicKey, state, createdAtMs },
  }));
  return {
    json: Object.fromEntries(shown.map(({ slot, ...key }) => [slot, key])),
    text: () =>
      `${alignColumns(
        shown.map(({ slot, publicKey, state, createdAtMs }) => [
          slot,
          publicKey,
          state,
          `made ${formatAge(createdAtMs, context.nowMs)}`,
        ]),
      )}\n`,
  };
}

export function version({ version }: Context): Output {
  return { json: { version }, text: () => `wg-cni ${version}\n` };
}

function readRecord(context: Context): NodeRecord {
  const { identity, settings } = readIdentity(context);
  return ownRecord(identity, settings);
}

function readIdentity(context: Context): { readonly identity: Identity; readonly settings: Settings } {
  using session = openSession(context);
  const identity = session.store.identity();
  if (identity === undefined)
    throw new NotUpError(
      "This node has no identity yet: run `wg-cni up --node NAME --endpoint IP --pod-cidr CIDR` first.",
    );
  return { identity, settings: readSettings(session.store) };
}
