// Recovers this node's private keys if the file of the seal key is absent, as
// after a boot of an image whose /etc is made anew each time (Container-Optimized OS,
// Bottlerocket). Absent is not unreadable: a file that cannot be read, or that opens
// nothing, changes no key, since it may come back.
//
//   a key is still in the kernel          sealed anew, under a new seal key
//   it is not, records are published      the agent makes a new one and publishes it
//   it is not, records go by hand         nothing: the slot's fault names the remedy
import { findStatus } from "../linux/file.ts";
import { attempt } from "../net/error.ts";
import type { Slot } from "../net/record.ts";
import { isAnnounced, type Settings, slotDevice } from "../plan/settings/settings.ts";
import { publicKeyOf } from "../state/keys.ts";
import type { Identity, IdentitySlot } from "../state/model.ts";
import {
  openPrivateKey,
  readOrCreateSealKey,
  readSealKey,
  SealError,
  sealPrivateKey,
} from "../state/seal.ts";
import { makeSlotKey } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import type { Kernel } from "./kernel.ts";
import { readSettings } from "./node-reader.ts";
import { meshLinks, readDevices } from "./observe.ts";

export interface KeyRecovery {
  /** Slots whose key was in the kernel. */
  readonly resealed: readonly Slot[];
  /** Slots that have a new key. */
  readonly replaced: readonly Slot[];
  /** Path of the seal key. */
  readonly path: string;
}

export interface RecoveryOptions {
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** True if lost keys may be replaced by new ones: the caller publishes them. */
  readonly mayReplace: boolean;
  /** True if a seal key that is there is tried too: it may be of a recovery that was cut off. */
  readonly verify: boolean;
}

/**
 * Returns the recovery; undefined if there was no need, or no way: then opening the keys reports the reason.
 * Throws SealError if the new seal key cannot be kept; StoreError.
 */
export function recoverKeys(store: Store, kernel: Kernel, options: RecoveryOptions): KeyRecovery | undefined {
  const identity = store.identity();
  if (identity === undefined || !identity.up) return undefined;
  const settings = readSettings(store);
  const path = settings.sealKeyFile;
  const isAbsent = isFileAbsent(path);
  if (!isAbsent && !(options.verify && opensNothing(identity, path))) return undefined;
  const inKernel = readPrivateKeys(identity, settings, kernel);
  const lost = identity.slots.map(({ slot }) => slot).filter((slot) => !inKernel.has(slot));
  const mayReplace = isAbsent && options.mayReplace && isAnnounced(settings);
  if (lost.length > 0 && !mayReplace) return undefined;
  const sealKey = readOrCreateSealKey(path);
  const slots = identity.slots.map((own): IdentitySlot => {
    const context = { node: identity.name, slot: own.slot };
    const privateKey = inKernel.get(own.slot);
    if (privateKey === undefined) return makeSlotKey(sealKey, context, options.nowMs);
    return { ...own, sealedPrivateKey: sealPrivateKey(sealKey, context, privateKey) };
  });
  return store.transaction(() => {
    const now = store.identity();
    // Another process has replaced a key meanwhile: the next sync begins anew.
    if (now === undefined || keysOf(now) !== keysOf(identity)) return undefined;
    store.putIdentity({ ...now, slots });
    if (lost.length > 0) store.putRotation(undefined);
    return { resealed: [...inKernel.keys()], replaced: lost, path };
  });
}

/** False if the search itself fails: reading the file reports that. */
function isFileAbsent(path: string): boolean {
  try {
    return findStatus(path) === undefined;
  } catch {
    return false;
  }
}

/** True if the file is sound, and is not what any of the keys was sealed with. */
function opensNothing({ name, slots }: Identity, path: string): boolean {
  const sealKey = tryTo(() => readSealKey(path));
  if (sealKey === undefined) return false;
  return slots.every(({ slot, sealedPrivateKey }) => {
    const context = { node: name, slot };
    return tryTo(() => openPrivateKey(sealKey, context, sealedPrivateKey)) === undefined;
  });
}

function tryTo<T>(read: () => T): T | undefined {
  return attempt(SealError, read, () => undefined);
}

/** Reads the keys of devices whose key is the node's own; any other key is of no use. */
function readPrivateKeys({ slots }: Identity, settings: Settings, kernel: Kernel): Map<Slot, string> {
  const devices = readDevices(meshLinks(settings, kernel), kernel);
  const keys = new Map<Slot, string>();
  for (const { slot, publicKey } of slots) {
    const { privateKey } = devices.get(slotDevice(settings, slot)) ?? {};
    if (privateKey !== undefined && publicKeyOf(privateKey) === publicKey) keys.set(slot, privateKey);
  }
  return keys;
}

function keysOf({ slots }: Identity): string {
  return slots.map(({ publicKey }) => publicKey).join();
}
