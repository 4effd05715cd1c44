// What was decided about a folder of network configurations, done to it. Others
// write there too and know of no lock: what is put in the place of a file goes
// back if the file was not the one that the decision was made about. So nobody's
// text is lost, and a `false` means: look again.

import { confFiles } from "./conflist.ts";
import { backupName, type ConfDirectory, type Decision, findSingle } from "./decide.ts";
import { type Disk, InstallError, unfinished, unfinishedName } from "./disk.ts";
import type { Removal } from "./remove.ts";

/** Others hold it for some milliseconds. */
const lockTimeoutMs = 5000;

/** Runs `inside` while no other installer works on the folder, without what one that was killed has left. Throws InstallError. */
export function withDirectory<T>(disk: Disk, directory: string, inside: () => T): T {
  using _lock = disk.lock(directory, lockTimeoutMs);
  for (const name of disk.list(directory) ?? [])
    if (name.startsWith(".") && name.endsWith(unfinished)) disk.remove(`${directory}/${name}`);
  return inside();
}

/** All that decisions are made about. Throws InstallError where the folder itself cannot be read. */
export function readDirectory(disk: Disk, directory: string): ConfDirectory {
  const names = disk.list(directory) ?? [];
  const backups = names.filter((name) => findSingle(name) !== undefined);
  return new Map(
    [...confFiles(names), ...backups].map((name) => [name, readContent(disk, `${directory}/${name}`)]),
  );
}

function readContent(disk: Disk, path: string): { text: string } | { problem: string } {
  try {
    return { text: disk.read(path) };
  } catch (error) {
    if (!(error instanceof InstallError)) throw error;
    return { problem: error.message };
  }
}

/** False where the folder is not as it was when this was decided. Throws InstallError. */
export function place(disk: Disk, directory: string, decision: Decision): boolean {
  return falseIfVanished(() => placeNow(disk, directory, decision));
}

/** False where the folder is not as it was when this was planned. Throws InstallError. */
export function applyRemoval(disk: Disk, directory: string, removal: Removal): boolean {
  return falseIfVanished(() => applyRemovalNow(disk, directory, removal));
}

/** A file that goes while something is done to it is another folder than before. */
function falseIfVanished(deed: () => boolean): boolean {
  try {
    return deed();
  } catch (error) {
    if (error instanceof InstallError && error.isAbsence) return false;
    throw error;
  }
}

function placeNow(disk: Disk, directory: string, decision: Decision): boolean {
  switch (decision.do) {
    case "nothing":
    case "wait":
      return true;
    case "write":
      return replace(disk, `${directory}/${decision.file}`, decision.was, decision.text);
    case "convert": {
      const single = `${directory}/${decision.single}`;
      const isWritten = replace(
        disk,
        `${directory}/${decision.list}`,
        decision.listWas,
        decision.text,
        single,
      );
      return isWritten && moveToBackup(disk, directory, decision.single, decision.was);
    }
  }
}

function applyRemovalNow(disk: Disk, directory: string, removal: Removal): boolean {
  switch (removal.do) {
    case "write":
      return replace(disk, `${directory}/${removal.file}`, removal.was, removal.text);
    case "restore":
      if (disk.has(`${directory}/${removal.single}`)) return false;
      disk.rename(`${directory}/${removal.backup}`, `${directory}/${removal.single}`);
      return removeIf(disk, directory, removal.list, removal.was);
    case "remove":
      return removeIf(disk, directory, removal.file, removal.was);
    case "forget":
      disk.remove(`${directory}/${removal.backup}`);
      disk.flush(directory);
      return true;
    case "disable":
      disk.rename(`${directory}/${removal.file}`, `${directory}/${removal.to}`);
      disk.flush(directory);
      return true;
  }
}

/**
 * Puts a text under a name that has `was`, with the same mode and owner; links are followed, and
 * stay. What is new has those of `like`.
 */
function replace(disk: Disk, path: string, was: string | undefined, text: string, like?: string): boolean {
  if (was === undefined) return add(disk, path, text, like);
  const target = disk.resolve(path);
  const fresh = unfinishedName(target);
  disk.create(fresh, text, target);
  const replaced = swap(disk, fresh, target, was, text);
  disk.remove(fresh);
  disk.flush(directoryOf(target));
  return replaced;
}

/** True where `target` had `was` and has the fresh text now; `fresh` is for removal. */
function swap(disk: Disk, fresh: string, target: string, was: string, text: string): boolean {
  if (!disk.exchange(fresh, target)) {
    // Without that call there is a moment between looking and renaming.
    if (!holds(disk, target, was)) return false;
    disk.rename(fresh, target);
    return true;
  }
  if (holds(disk, fresh, was)) return true;
  disk.exchange(fresh, target);
  // Somebody may have renamed theirs to it once more: that one is the newest.
  if (!holds(disk, fresh, text)) disk.rename(fresh, target);
  return false;
}

function holds(disk: Disk, path: string, text: string): boolean {
  const content = readContent(disk, path);
  return "text" in content && content.text === text;
}

/** False where something has the name by now. */
function add(disk: Disk, path: string, text: string, like?: string): boolean {
  const fresh = unfinishedName(path);
  disk.create(fresh, text, like);
  const isOurs = disk.name(fresh, path);
  disk.remove(fresh);
  disk.flush(directoryOf(path));
  return isOurs;
}

/** The list is used from this moment on, where the single plugin came before it. */
function moveToBackup(disk: Disk, directory: string, single: string, was: string): boolean {
  const [path, backup] = [`${directory}/${single}`, `${directory}/${backupName(single)}`];
  disk.rename(path, backup);
  const isSame = holds(disk, backup, was);
  if (!isSame && !disk.has(path)) disk.rename(backup, path);
  disk.flush(directory);
  return isSame;
}

function removeIf(disk: Disk, directory: string, file: string, was: string): boolean {
  const path = `${directory}/${file}`;
  const isSame = holds(disk, path, was);
  if (isSame) disk.remove(path);
  disk.flush(directory);
  return isSame;
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
