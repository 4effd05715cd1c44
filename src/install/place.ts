// What was decided about a folder of network configurations, done to it. Others
// write there too and know of no lock: what is put in the place of a file goes
// back if the file was not the one that the decision was made about. So nobody's
// text is lost, and a `false` means: look again.

import { networkFiles } from "./conflist.ts";
import { asideName, type Decision, type Folder, findSingle } from "./decide.ts";
import { type Disk, InstallError, unfinished, unfinishedName } from "./disk.ts";
import type { Removal } from "./remove.ts";

/** Others hold it for some milliseconds. */
const lockTimeoutMs = 5000;

/** Runs `inside` while no other installer works on the folder, without what one that was killed has left. Throws InstallError. */
export function withFolder<T>(disk: Disk, folder: string, inside: () => T): T {
  using _lock = disk.lock(folder, lockTimeoutMs);
  for (const name of disk.list(folder) ?? [])
    if (name.startsWith(".") && name.endsWith(unfinished)) disk.remove(`${folder}/${name}`);
  return inside();
}

/** All that decisions are made about. Throws InstallError where the folder itself cannot be read. */
export function readFolder(disk: Disk, folder: string): Folder {
  const names = disk.list(folder) ?? [];
  const asides = names.filter((name) => findSingle(name) !== undefined);
  return new Map(
    [...networkFiles(names), ...asides].map((name) => [name, readContent(disk, `${folder}/${name}`)]),
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
export function place(disk: Disk, folder: string, decision: Decision): boolean {
  return unlessGone(() => placeNow(disk, folder, decision));
}

/** False where the folder is not as it was when this was planned. Throws InstallError. */
export function takeAway(disk: Disk, folder: string, removal: Removal): boolean {
  return unlessGone(() => takeAwayNow(disk, folder, removal));
}

/** A file that goes while something is done to it is another folder than before. */
function unlessGone(deed: () => boolean): boolean {
  try {
    return deed();
  } catch (error) {
    if (error instanceof InstallError && error.isAbsence) return false;
    throw error;
  }
}

function placeNow(disk: Disk, folder: string, decision: Decision): boolean {
  switch (decision.do) {
    case "nothing":
    case "wait":
      return true;
    case "write":
      return replace(disk, `${folder}/${decision.file}`, decision.was, decision.text);
    case "convert": {
      const single = `${folder}/${decision.single}`;
      const isWritten = replace(disk, `${folder}/${decision.list}`, decision.listWas, decision.text, single);
      return isWritten && putAside(disk, folder, decision.single, decision.was);
    }
  }
}

function takeAwayNow(disk: Disk, folder: string, removal: Removal): boolean {
  switch (removal.do) {
    case "write":
      return replace(disk, `${folder}/${removal.file}`, removal.was, removal.text);
    case "restore":
      if (disk.has(`${folder}/${removal.single}`)) return false;
      disk.rename(`${folder}/${removal.aside}`, `${folder}/${removal.single}`);
      return removeIf(disk, folder, removal.list, removal.was);
    case "remove":
      return removeIf(disk, folder, removal.file, removal.was);
    case "forget":
      disk.remove(`${folder}/${removal.aside}`);
      disk.flush(folder);
      return true;
    case "disable":
      disk.rename(`${folder}/${removal.file}`, `${folder}/${removal.to}`);
      disk.flush(folder);
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
  disk.flush(folderOf(target));
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
  disk.flush(folderOf(path));
  return isOurs;
}

/** The list is used from this moment on, where the single plugin came before it. */
function putAside(disk: Disk, folder: string, single: string, was: string): boolean {
  const [path, aside] = [`${folder}/${single}`, `${folder}/${asideName(single)}`];
  disk.rename(path, aside);
  const isSame = holds(disk, aside, was);
  if (!isSame && !disk.has(path)) disk.rename(aside, path);
  disk.flush(folder);
  return isSame;
}

function removeIf(disk: Disk, folder: string, file: string, was: string): boolean {
  const path = `${folder}/${file}`;
  const isSame = holds(disk, path, was);
  if (isSame) disk.remove(path);
  disk.flush(folder);
  return isSame;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
