// Keeps wg-cni installed if the settings say so (`wg-cni install --keep`): the executable in the
// directory of plugins, and our entry in the configuration list that the runtime uses. Other
// components write there too, some whenever they restart, and some whenever they see a change;
// install/restores.ts decides how often we repair it.
//
//   const installation = new Installation(() => findTarget(readSettings(store)), options)
//   installation.reconcile() in every pass, polls too, because a repair may be waiting for its time
import { DirectoryWatch } from "../fswatch/directory-watch.ts";
import { binaryPath, installBinary } from "../install/binary.ts";
import { type Disk, InstallError } from "../install/disk.ts";
import { ensureConfList, readDecision, type Target } from "../install/install.ts";
import {
  isContested,
  nextAttempt,
  noRestores,
  type RestoreMemory,
  recordWrite,
} from "../install/restores.ts";
import { attempt } from "../net/error.ts";
import type { Log } from "../telemetry/log.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";

export interface InstallationOptions {
  readonly log: Log;
  readonly disk: Disk;
  /** The executable that becomes the plugin if there is none. */
  readonly source: string;
  /** Something in one of the directories has changed: call `reconcile` soon. */
  readonly onChange: () => void;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

export interface InstallationReport {
  /** A sentence if pods are not attached through us. */
  readonly problem?: string;
  /** When the next pass must run at the latest. */
  readonly wakeInMs?: number;
}

/** One target, and the state of its repair. */
interface Followed {
  readonly target: Target;
  readonly watches: readonly DirectoryWatch[];
  restores: RestoreMemory;
}

export class Installation implements Disposable {
  #followed: Followed | undefined;
  readonly #problems: ProblemLog;

  constructor(
    private readonly readTarget: () => Target | undefined,
    private readonly options: InstallationOptions,
  ) {
    this.#problems = new ProblemLog(options.log);
  }

  /** Makes the repairs that are due; writes nothing if nothing has changed. Throws what `readTarget` throws. */
  reconcile(): InstallationReport {
    const followed = this.#follow(this.readTarget());
    const keep = () => (followed === undefined ? {} : this.#keep(followed));
    const report = attempt(InstallError, keep, ({ message }): InstallationReport => ({ problem: message }));
    this.#problems.reportOnChange("installation", report.problem);
    return report;
  }

  [Symbol.dispose](): void {
    for (const watch of this.#followed?.watches ?? []) watch[Symbol.dispose]();
  }

  /** Begins anew if the target differs from that of the last pass. */
  #follow(target: Target | undefined): Followed | undefined {
    const before = this.#followed;
    if (Bun.deepEquals(before?.target, target)) return before;
    this[Symbol.dispose]();
    if (target === undefined) this.#followed = undefined;
    else {
      const directories = [target.confDir, target.binDir];
      const watches = directories.map((directory) => new DirectoryWatch(directory, this.options.onChange));
      this.#followed = { target, watches, restores: noRestores };
    }
    return this.#followed;
  }

  /** Throws InstallError. */
  #keep(followed: Followed): InstallationReport {
    // The watches come before any read, so that no later change is missed.
    for (const watch of followed.watches) watch.checkForChange();
    this.#keepBinary(followed.target);
    return this.#keepNetwork(followed);
  }

  /** Installs the plugin only if there is none; `wg-cni install` replaces it. */
  #keepBinary({ binDir }: Target): void {
    const { disk, source, log } = this.options;
    const path = binaryPath(binDir);
    if (disk.has(path)) return;
    installBinary(disk, source, binDir);
    log.warn("plugin missing from its directory, restored", { path });
  }

  #keepNetwork(followed: Followed): InstallationReport {
    const { target } = followed;
    const decision = readDecision(this.options.disk, target);
    if (decision.do === "wait") return { problem: `${decision.reason} (${target.confDir})` };
    const nowMs = this.options.now();
    const turn = nextAttempt(followed.restores, decision.do === "nothing", nowMs);
    followed.restores = turn.memory;
    const failure = turn.act ? this.#write(followed, nowMs) : undefined;
    const problem = failure ?? describeProblem(followed);
    return {
      ...(problem === undefined ? {} : { problem }),
      ...(turn.dueMs === undefined ? {} : { wakeInMs: turn.dueMs - nowMs }),
    };
  }

  /** Returns the reason if the write failed, in a sentence. */
  #write(followed: Followed, nowMs: number): string | undefined {
    const { target, restores } = followed;
    // An operator may have uninstalled it since the settings were read.
    const isWanted = () => Bun.deepEquals(this.readTarget(), target);
    const outcome = ensureConfList(this.options.disk, target, isWanted);
    if ("waitsFor" in outcome) return isWanted() ? `${outcome.waitsFor} (${target.confDir})` : undefined;
    followed.restores = recordWrite(restores, nowMs);
    this.#logWrite(`${target.confDir}/${outcome.file}`, restores);
    return undefined;
  }

  #logWrite(file: string, before: RestoreMemory): void {
    const { log } = this.options;
    if (before.wroteAtMs === undefined) log.info("wg-cni added to the network configuration", { file });
    // A fight has been logged once; its further rounds are debug lines.
    else
      log[isContested(before) ? "debug" : "warn"](
        "wg-cni removed from the network configuration by another process, restored",
        {
          file,
        },
      );
  }
}

function describeProblem({ target: { confDir }, restores }: Followed): string | undefined {
  if (isContested(restores))
    return `Something takes wg-cni out of the network in ${confDir} whenever it is put in, so that is done ever more rarely, and new pods are mostly not attached through it. Have that leave the file alone; Cilium does with cni.exclusive=false`;
  if (restores.divergedAtMs === undefined) return undefined;
  return `The network in ${confDir} does not call wg-cni; new pods are not attached through it`;
}
