// A node whose keys are rotated by src/agent/rotation.ts, with a real store and
// real keys, for tests: clocks that the test moves, log lines kept, nobody else
// around unless the test says so.
import { join } from "node:path";
import { KeyRotation, type RotationPassContext, type RotationResult } from "../../src/agent/rotation.ts";
import { slots } from "../../src/plan/peers/path.ts";
import { publicKeyOf } from "../../src/state/keys.ts";
import type { Identity } from "../../src/state/model.ts";
import { openPrivateKey, readOrCreateSealKey } from "../../src/state/seal.ts";
import { makeSlotKeys } from "../../src/state/slot-key.ts";
import { Store } from "../../src/state/store.ts";
import { makeLog } from "../telemetry/facts.ts";

export const wallStartMs = 1_700_000_000_000;
const day = 86_400_000;

export class RotatingNode implements Disposable {
  readonly store: Store;
  readonly sealKeyFile: string;
  readonly #log = makeLog();
  rotation: KeyRotation;
  nowMs = 5000;
  /** Of the wall clock, beside the other. */
  offsetMs = wallStartMs;

  /** In an empty directory a node is made, whose keys are a day and a half old. */
  constructor(directory: string) {
    this.sealKeyFile = join(directory, "seal.key");
    this.store = Store.open(join(directory, "state"), "boot");
    this.rotation = new KeyRotation(this.store, this.#log.log);
    if (this.store.identity() === undefined) this.#make();
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
  }

  #make(): void {
    const sealKey = readOrCreateSealKey(this.sealKeyFile);
    this.store.putSetting("sealKeyFile", this.sealKeyFile);
    this.store.putSetting("recordsDir", "/records");
    this.store.putIdentity({
      ...{ name: "n1", endpoints: ["192.0.2.1"], endpointsFound: false, nodeIPsFollow: false },
      ...{ nodeIPs: ["192.0.2.1"], podCIDRs: ["10.1.0.0/24"], up: true },
      slots: makeSlotKeys(sealKey, "n1", slots, wallStartMs - 1.5 * day),
    });
  }

  get identity(): Identity {
    return this.store.identity() as Identity;
  }

  /** "a active, b draining; a, b remain". */
  get stage(): string {
    const states = this.identity.slots.map(({ slot, state }) => `${slot} ${state}`).join(", ");
    const remaining = this.store.rotation()?.remaining;
    return remaining === undefined ? states : `${states}; ${remaining.join(", ")} to come`;
  }

  get publicKeys(): string[] {
    return this.identity.slots.map(({ publicKey }) => publicKey);
  }

  /** Returns the lines that were logged since the last call. */
  logged(): string[] {
    return this.#log.lines.splice(0).map((line) => line.replace(/^NOW /, "").trim());
  }

  reconcile(around: Partial<RotationPassContext> = {}): RotationResult {
    return this.rotation.reconcile(
      { peers: [], observations: new Map(), isPublished: true, ...around },
      { nowMs: this.nowMs, wallMs: this.offsetMs + this.nowMs },
    );
  }

  /** As an agent that was killed and started again. */
  restart(): void {
    this.rotation = new KeyRotation(this.store, this.#log.log);
    this.nowMs = 100;
  }

  /** Looks every few seconds until nothing is going on; throws if that takes longer than ten minutes. */
  finish(): void {
    for (const endMs = this.nowMs + 600_000; this.nowMs < endMs; this.nowMs += 4000)
      if (!this.reconcile().changed && this.store.rotation() === undefined) return;
    throw new Error(`the rotation does not end: ${this.stage}`);
  }

  /** Throws if a private key does not open, or is not the one of the public key. */
  checkKeys(): void {
    const sealKey = readOrCreateSealKey(this.sealKeyFile);
    for (const { slot, publicKey, sealedPrivateKey } of this.identity.slots) {
      const opened = openPrivateKey(sealKey, { node: "n1", slot }, sealedPrivateKey);
      if (publicKeyOf(opened) !== publicKey) throw new Error(`slot ${slot} has another's private key`);
    }
  }
}
