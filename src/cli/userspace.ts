// `userspace` starts the userspace WireGuard of this node's devices whenever one is missing, for an agent that
// cannot: one in a container does not see the node's programs, and what it starts would end with it. The command
// runs as a service of the node (conf/wg-cni-userspace.service) and waits for everything that is not there yet.
import { readlinkSync } from "node:fs";
import { readBootId } from "../linux/boot.ts";
import { exists } from "../linux/file.ts";
import { withFileLock } from "../linux/lock.ts";
import { Backoff } from "../net/backoff.ts";
import { messageOf } from "../net/error.ts";
import { Rtnl } from "../netlink/rtnl.ts";

import { readSettings } from "../reconcile/node-reader.ts";
import { lockTimeoutMs } from "../reconcile/sync.ts";
import { listMissingDevices, startDevice } from "../reconcile/userspace.ts";
import { Store } from "../state/store.ts";
import { Log } from "../telemetry/log.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";
import type { Context, Output } from "./command.ts";

/** While a device is missing, packets for it are lost or in plaintext. A look at the store takes a millisecond. */
const pollMs = 1000;
/** A process that ends again and again, or cannot be started, is started less often. */
const pauses = { firstMs: pollMs, longestMs: 60_000 };
/** Devices that were there for so long have not ended again and again. */
const steadyMs = 60_000;

export async function userspace({ stateDir, stderr }: Context): Promise<Output> {
  const log = new Log({ level: "info", format: "text", write: stderr, now: () => new Date().toISOString() });
  const problems = new ProblemLog(log);
  const starter = new DeviceStarter(stateDir, (dev, program) =>
    log.info("started", { device: dev, program }),
  );
  // The service starts the new executable, which may read a store that this one cannot.
  while (!isReplaced()) {
    try {
      if (starter.tryOnce(performance.now())) problems.reportOnChange("devices", undefined);
    } catch (error) {
      problems.reportOnChange("devices", messageOf(error));
    }
    await Bun.sleep(pollMs);
  }
  log.info("ending: this executable was removed or replaced");
  return { json: {}, text: () => "" };
}

/** True if the file that this process runs is gone: an upgrade or `uninstall` did that. */
function isReplaced(): boolean {
  return readlinkSync("/proc/self/exe").endsWith(" (deleted)");
}

export class DeviceStarter {
  readonly #backoff = new Backoff(pauses, () => 1);
  #lastStartMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly stateDir: string,
    private readonly onStart: (dev: string, program: string) => void,
  ) {}

  /** Starts what is missing; returns false if it is too early to try again. Throws StartError, StoreError, SysError. */
  tryOnce(nowMs: number): boolean {
    if (this.#backoff.waitMs(nowMs) > 0) return false;
    if (this.#listMissing().length === 0) {
      if (nowMs - this.#lastStartMs > steadyMs) this.#backoff.reset();
      return true;
    }
    this.#lastStartMs = nowMs;
    this.#backoff.fail(nowMs);
    // With the lock, and asked again: a node that is leaving has said so in the store before it removes its devices.
    withFileLock(`${this.stateDir}/sync.lock`, lockTimeoutMs, () => {
      for (const dev of this.#listMissing()) this.onStart(dev, startDevice(dev));
    });
    return true;
  }

  /** No store is made: a node on which nothing is installed has none. */
  #listMissing(): string[] {
    if (!exists(`${this.stateDir}/state.db`)) return [];
    using store = Store.open(this.stateDir, readBootId());
    using host = Rtnl.open();
    return listMissingDevices(readSettings(store), store.identity(), (name) => host.hasLink(name));
  }
}
