// Keeps wg-cni installed where the settings say so (`wg-cni install --keep`): the
// executable in the folder of plugins, our entry in the network that the runtime
// uses. Other components write there too, some at every restart of theirs, and
// some whenever they see it changed: how often they are answered is
// install/backoff.ts.
//
//   const installation = new Installation(() => findTarget(readSettings(store)), options)
//   at every look, polls too, since one may be what it waits for: installation.look()
import { open } from "node:fs/promises";
import { FolderWatch } from "../fswatch/directory-watch.ts";
import { type Backoff, isContested, nextAttempt, noBackoff, recordWrite } from "../install/backoff.ts";
import { binaryPath, installBinary } from "../install/binary.ts";
import { type Disk, InstallError } from "../install/disk.ts";
import { ensureConfList, readDecision, type Target } from "../install/install.ts";
import type { Log } from "../telemetry/log.ts";

const blockBytes = 1024 * 1024;

export interface InstallationOptions {
  readonly log: Log;
  readonly disk: Disk;
  /** The executable that becomes the plugin where there is none. */
  readonly source: string;
  /** Something in one of the folders has changed: call `look` soon. */
  readonly onChange: () => void;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

export interface InstallationReport {
  /** A sentence where pods are not attached through us. */
  readonly problem?: string;
  /** When to look again at the latest. */
  readonly wakeInMs?: number;
}

/** One target, and what is known of it. */
interface Followed {
  readonly target: Target;
  readonly watches: readonly FolderWatch[];
  patience: Backoff;
}

export class Installation implements Disposable {
  #followed: Followed | undefined;
  #problem: string | undefined;

  constructor(
    private readonly readTarget: () => Target | undefined,
    private readonly options: InstallationOptions,
  ) {}

  /** Does what is due; writes nothing where all is as it should be. Throws what `readTarget` throws. */
  look(): InstallationReport {
    const followed = this.#follow(this.readTarget());
    if (followed === undefined) return this.#stand({});
    try {
      // Before anything is read: what changes from now on is heard.
      for (const watch of followed.watches) watch.look();
      this.#keepBinary(followed.target);
      return this.#stand(this.#keepNetwork(followed));
    } catch (error) {
      if (!(error instanceof InstallError)) throw error;
      return this.#stand({ problem: error.message });
    }
  }

  [Symbol.dispose](): void {
    for (const watch of this.#followed?.watches ?? []) watch[Symbol.dispose]();
  }

  /** Begins anew where the target is another than at the last look. */
  #follow(target: Target | undefined): Followed | undefined {
    const before = this.#followed;
    if (Bun.deepEquals(before?.target, target)) return before;
    this[Symbol.dispose]();
    if (target === undefined) this.#followed = undefined;
    else {
      const folders = [target.confDir, target.binDir];
      const watches = folders.map((folder) => new FolderWatch(folder, this.options.onChange));
      this.#followed = { target, watches, patience: noBackoff };
      void warm(binaryPath(target.binDir));
    }
    return this.#followed;
  }

  /** One that is there stays, whatever it is: `wg-cni install` exchanges it. */
  #keepBinary({ binDir }: Target): void {
    const { disk, source, log } = this.options;
    const path = binaryPath(binDir);
    if (disk.has(path)) return;
    installBinary(disk, source, binDir);
    log.warn("the plugin was not in its folder, and is now", { path });
  }

  #keepNetwork(followed: Followed): InstallationReport {
    const { target } = followed;
    const decision = readDecision(this.options.disk, target);
    if (decision.do === "wait") return { problem: `${decision.reason} (${target.confDir})` };
    const nowMs = this.options.now();
    const turn = nextAttempt(followed.patience, decision.do === "nothing", nowMs);
    followed.patience = turn.backoff;
    const failure = turn.act ? this.#write(followed, nowMs) : undefined;
    const problem = failure ?? describeProblem(followed);
    return {
      ...(problem === undefined ? {} : { problem }),
      ...(turn.dueMs === undefined ? {} : { wakeInMs: turn.dueMs - nowMs }),
    };
  }

  /** Returns why it could not be done, in a sentence. */
  #write(followed: Followed, nowMs: number): string | undefined {
    const { target, patience } = followed;
    // Somebody may have uninstalled it since the settings were read.
    const isWanted = () => Bun.deepEquals(this.readTarget(), target);
    const outcome = ensureConfList(this.options.disk, target, isWanted);
    if ("waitsFor" in outcome) return isWanted() ? `${outcome.waitsFor} (${target.confDir})` : undefined;
    followed.patience = recordWrite(patience, nowMs);
    this.#logWrite(`${target.confDir}/${outcome.file}`, patience);
    return undefined;
  }

  #logWrite(file: string, before: Backoff): void {
    const { log } = this.options;
    if (before.wroteAtMs === undefined) log.info("the network calls wg-cni now", { file });
    // A fight has been said once; its rounds are no news.
    else
      log[isContested(before) ? "debug" : "warn"]("somebody took wg-cni out of the network: it is in again", {
        file,
      });
  }

  /** Returns the report; logs a problem that has come, changed or passed. */
  #stand(report: InstallationReport): InstallationReport {
    const before = this.#problem;
    this.#problem = report.problem;
    if (report.problem === before) return report;
    if (report.problem === undefined) this.options.log.info("new pods are attached through wg-cni again");
    else this.options.log.warn(report.problem);
    return report;
  }
}

function describeProblem({ target: { confDir }, patience }: Followed): string | undefined {
  if (isContested(patience))
    return `Something takes wg-cni out of the network in ${confDir} whenever it is put in, so that is done ever more rarely, and new pods are mostly not attached through it. Have that leave the file alone; Cilium does with cni.exclusive=false`;
  if (patience.divergedAtMs === undefined) return undefined;
  return `The network in ${confDir} does not call wg-cni; new pods are not attached through it`;
}

/** Reads the file once, beside everything else: the first pod then need not wait for the disk. */
async function warm(path: string): Promise<void> {
  try {
    await using file = await open(path);
    const buffer = Buffer.alloc(blockBytes);
    while ((await file.read(buffer, 0, blockBytes, null)).bytesRead > 0);
  } catch {
    // It is not there, and is read when it is put there.
  }
}
