// Installing and taking it back, in the order in which no pod meets a half: the
// executable before the network that names it, and the other way round. Every
// step may be the last one before a crash; running it again goes on from there.
import type { Entry } from "../plan/settings/entry.ts";
import { binaryPath, installBinary, removeBinary } from "./binary.ts";
import { type Decision, decide } from "./decide.ts";
import { type Disk, InstallError } from "./disk.ts";
import { applyRemoval, place, readDirectory, withDirectory } from "./place.ts";
import { planRemoval, type Removal } from "./remove.ts";

/** How often something is decided anew because somebody else was writing at the same time. */
const maxRaces = 20;
const pollMs = 250;

/** What is to be kept true. */
export interface Target {
  /** Where the runtime takes plugins from. */
  readonly binDir: string;
  /** Where it takes networks from. */
  readonly confDir: string;
  /** Of wg-cni in the network; absent: as it is there, else without keys of its own. */
  readonly entry?: Entry;
}

/** The network that the runtime uses, or why there is none to be had yet. */
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
  /** How long to wait for a network that can be used. */
  readonly waitMs: number;
  /** Told once what is waited for, and whenever that becomes something else. */
  readonly say: (sentence: string) => void;
}

/** Throws InstallError; what was done until then stays, and is whole. */
export async function install({ disk, target, source, waitMs, say }: InstallOptions): Promise<Installed> {
  const path = binaryPath(target.binDir);
  let wrote = installBinary(disk, source, target.binDir);
  const deadlineMs = performance.now() + waitMs;
  let said: string | undefined;
  for (;;) {
    // Somebody may uninstall while we wait.
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
 * Has the network in use call us, if there is one that can; writes nothing where it does.
 * `isWanted` is asked once nobody else can be at it. Throws InstallError.
 */
export function ensureConfList(
  disk: Disk,
  target: Target,
  isWanted: () => boolean = () => true,
): ConfListOutcome {
  const { confDir, binDir } = target;
  if (disk.list(confDir) === undefined) return { waitsFor: "There is no such folder of networks" };
  return withDirectory(disk, confDir, () => {
    if (!isWanted()) return { waitsFor: "It is not wanted any more" };
    if (!disk.has(binaryPath(binDir))) return { waitsFor: `There is no ${binaryPath(binDir)}` };
    let wrote = false;
    for (let races = 0; races < maxRaces; races++) {
      const decision = readDecision(disk, target);
      if (decision.do === "wait") return { waitsFor: decision.reason };
      if (decision.do === "nothing") return { file: decision.file, types: decision.types, wrote };
      // What was written is looked at again, as a runtime would.
      wrote = place(disk, confDir, decision) || wrote;
    }
    return { waitsFor: "Somebody else writes it again and again" };
  });
}

/** What would have to be done to the folder of networks. Throws InstallError. */
export function readDecision(disk: Disk, { confDir, binDir, entry }: Target): Decision {
  const hasPlugin = (type: string) => !type.includes("/") && disk.has(`${binDir}/${type}`);
  return decide(readDirectory(disk, confDir), entry === undefined ? {} : { entry }, hasPlugin);
}

export interface Removed {
  readonly networks: readonly Removal[];
  readonly binary: "removed" | "absent" | "kept";
}

/**
 * `keepBinary`: runtimes may still call it for pods that are there. Throws InstallError,
 * before the executable goes, where a network may still name it.
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
  // As one: who puts us into a network makes sure of the executable in between.
  return withDirectory(disk, confDir, () => remove(removeFromNetworks(disk, confDir)));
}

function removeFromNetworks(disk: Disk, confDir: string): readonly Removal[] {
  const done: Removal[] = [];
  for (let races = 0; races < maxRaces; races++) {
    const { steps, problems } = planRemoval(readDirectory(disk, confDir));
    for (const step of steps) {
      // Somebody was faster: the rest was planned for another folder.
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
    `Somebody else writes the networks in ${confDir} again and again: stop that, then run this again. The plugin stays.`,
  );
}
