// Installation and its reversal run in an order in which no pod meets an incomplete state:
// the executable is installed before the configuration that names it, and removed after.
// A crash may follow any step; a second run continues from there.
import type { Entry } from "../plan/settings/entry.ts";
import { binaryPath, installBinary, removeBinary } from "./binary.ts";
import { type Decision, decide } from "./decide.ts";
import { type Disk, InstallError } from "./disk.ts";
import { applyRemoval, place, readDirectory, withDirectory } from "./place.ts";
import { planRemoval, type Removal } from "./remove.ts";

/** After this many decisions that another writer made obsolete, the installation gives up. */
const maxRaces = 20;
const pollMs = 250;

/** The target state that the installer and the agent maintain. */
export interface Target {
  /** The runtime reads plugins from this directory. */
  readonly binDir: string;
  /** The runtime reads network configurations from this directory. */
  readonly confDir: string;
  /** wg-cni's entry in the configuration. If it is absent, an existing entry stays, and a new one has no keys of its own. */
  readonly entry?: Entry;
}

/** The network configuration that the runtime uses, or the reason why there is none yet. */
export type ConfListOutcome =
  | { readonly file: string; readonly types: readonly string[]; readonly wrote: boolean }
  | { readonly waitsFor: string };

export interface Installed {
  readonly binary: { readonly path: string; readonly wrote: boolean };
  readonly network: { readonly file: string; readonly types: readonly string[]; readonly wrote: boolean };
}

export interface InstallOptions {
  readonly disk: Disk;
  readonly target: Target;
  /** The executable that becomes the plugin. */
  readonly source: string;
  /** The installer waits this long for a usable network configuration. */
  readonly waitMs: number;
  /** The function is called with the reason for waiting, and again when the reason changes. */
  readonly say: (sentence: string) => void;
}

/** Throws InstallError; the steps done until then stay and are complete. */
export async function install({ disk, target, source, waitMs, say }: InstallOptions): Promise<Installed> {
  const path = binaryPath(target.binDir);
  let wrote = installBinary(disk, source, target.binDir);
  const deadlineMs = performance.now() + waitMs;
  let said: string | undefined;
  for (;;) {
    // Another process may uninstall while we wait.
    if (!disk.has(path)) wrote = installBinary(disk, source, target.binDir);
    const network = ensureConfList(disk, target);
    if (!("waitsFor" in network)) return { binary: { path, wrote }, network };
    if (performance.now() >= deadlineMs)
      throw new InstallError(
        `${network.waitsFor} (${target.confDir}). The plugin is in place, and no network calls it: run this again, or with a longer --wait.`,
      );
    if (network.waitsFor !== said)
      say(`Waiting for a network to follow: ${network.waitsFor} (${target.confDir})`);
    said = network.waitsFor;
    await Bun.sleep(pollMs);
  }
}

/**
 * Makes the network configuration in use call us, if there is a usable one; writes nothing if it
 * does already. `isWanted` is called while the lock is held. Throws InstallError.
 */
export function ensureConfList(
  disk: Disk,
  target: Target,
  isWanted: () => boolean = () => true,
): ConfListOutcome {
  const { confDir, binDir } = target;
  if (disk.list(confDir) === undefined)
    return { waitsFor: "There is no such directory of network configurations" };
  return withDirectory(disk, confDir, () => {
    if (!isWanted()) return { waitsFor: "It is not wanted any more" };
    if (!disk.has(binaryPath(binDir))) return { waitsFor: `There is no ${binaryPath(binDir)}` };
    let wrote = false;
    for (let races = 0; races < maxRaces; races++) {
      const decision = readDecision(disk, target);
      if (decision.do === "wait") return { waitsFor: decision.reason };
      if (decision.do === "nothing") return { file: decision.file, types: decision.types, wrote };
      // The next decision reads the file again, as a runtime would.
      wrote = place(disk, confDir, decision) || wrote;
    }
    return { waitsFor: "Another program keeps rewriting it" };
  });
}

/** Reads the directory of network configurations and returns what has to be done to it. Throws InstallError. */
export function readDecision(disk: Disk, { confDir, binDir, entry }: Target): Decision {
  const hasPlugin = (type: string) => !type.includes("/") && disk.has(`${binDir}/${type}`);
  return decide(readDirectory(disk, confDir), entry === undefined ? {} : { entry }, hasPlugin);
}

export interface Removed {
  readonly networks: readonly Removal[];
  readonly binary: "removed" | "absent" | "kept";
}

/**
 * Uninstalls wg-cni. `keepBinary` leaves the executable, because runtimes may still call it for
 * existing pods. Throws InstallError before it removes the executable if a network configuration
 * may still name it.
 */
export function uninstall(
  disk: Disk,
  { binDir, confDir }: Pick<Target, "binDir" | "confDir">,
  keepBinary: boolean,
): Removed {
  const remove = (networks: readonly Removal[]): Removed => {
    if (keepBinary) return { networks, binary: disk.has(binaryPath(binDir)) ? "kept" : "absent" };
    return { networks, binary: removeBinary(disk, binDir) ? "removed" : "absent" };
  };
  if (disk.list(confDir) === undefined) return remove([]);
  // The lock covers both steps: an installer that adds our entry checks the executable under it.
  return withDirectory(disk, confDir, () => remove(removeFromNetworks(disk, confDir)));
}

function removeFromNetworks(disk: Disk, confDir: string): readonly Removal[] {
  const done: Removal[] = [];
  for (let races = 0; races < maxRaces; races++) {
    const { steps, problems } = planRemoval(readDirectory(disk, confDir));
    for (const step of steps) {
      // Another writer was faster, so the remaining steps no longer fit the directory.
      if (!applyRemoval(disk, confDir, step)) break;
      done.push(step);
    }
    if (steps.length > 0) continue;
    if (problems.length === 0) return done;
    throw new InstallError(
      `${problems.join(" ")} The plugin stays until no network in ${confDir} can name it: repair or remove the file, then run this again.`,
    );
  }
  throw new InstallError(
    `Another program keeps rewriting the network configurations in ${confDir}: stop it, then run this again. The plugin stays.`,
  );
}
