// The functions carry out a decision about a directory of network configurations. Other
// programs write there without a lock, so a replacement is undone if the replaced file was
// not the one that the decision was made about. No text of another program is lost; a
// result of `false` means that the caller must decide again.

import { attempt } from "../net/error.ts";
import { confFiles } from "./conflist.ts";
import { backupName, type ConfDirectory, type Decision, findSingle } from "./decide.ts";
import { type Disk, InstallError, unfinished, unfinishedName } from "./disk.ts";
import type { Removal } from "./remove.ts";

/** Other installers hold the lock for some milliseconds. */
const lockTimeoutMs = 5000;

/** Runs `inside` under the directory's lock, after removing what a killed installer left. Throws InstallError. */
export function withDirectory<T>(disk: Disk, directory: string, inside: () => T): T {
  using _lock = disk.lock(directory, lockTimeoutMs);
  for (const name of disk.list(directory) ?? [])
    if (name.startsWith(".") && name.endsWith(unfinished)) disk.remove(`${directory}/${name}`);
  return inside();
}

/** Reads all files that decisions depend on. Throws InstallError if the directory itself cannot be read. */
export function readDirectory(disk: Disk, directory: string): ConfDirectory {
  const names = disk.list(directory) ?? [];
  const backups = names.filter((name) => findSingle(name) !== undefined);
  return new Map(
    [...confFiles(names), ...backups].map((name) => [name, readContent(disk, `${directory}/${name}`)]),
  );
}

function readContent(disk: Disk, path: string): { text: string } | { problem: string } {
  return attempt(
    InstallError,
    () => ({ text: disk.read(path) }),
    ({ message }) => ({ problem: message }),
  );
}

/** Returns false if the directory changed since the decision. Throws InstallError. */
export function place(disk: Disk, directory: string, decision: Decision): boolean {
  return falseIfVanished(() => placeNow(disk, directory, decision));
}

/** Returns false if the directory changed since the plan. Throws InstallError. */
export function applyRemoval(disk: Disk, directory: string, removal: Removal): boolean {
  return falseIfVanished(() => applyRemovalNow(disk, directory, removal));
}

/** If a file vanishes during the action, the directory has changed. */
function falseIfVanished(action: () => boolean): boolean {
  try {
    return action();
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
 * Replaces the content `was` of a file and keeps its mode and owner. Links are followed and stay.
 * A new file gets the mode and owner of `like`.
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

/** Returns true if `target` contained `was` and contains the new text now. The caller removes `fresh`. */
function swap(disk: Disk, fresh: string, target: string, was: string, text: string): boolean {
  if (!disk.exchange(fresh, target)) {
    // Without that system call another program can write between the check and the rename.
    if (!holds(disk, target, was)) return false;
    disk.rename(fresh, target);
    return true;
  }
  if (holds(disk, fresh, was)) return true;
  disk.exchange(fresh, target);
  // If another program renamed its file over it meanwhile, that file is the newest.
  if (!holds(disk, fresh, text)) disk.rename(fresh, target);
  return false;
}

function holds(disk: Disk, path: string, text: string): boolean {
  const content = readContent(disk, path);
  return "text" in content && content.text === text;
}

/** Returns false if the name exists by now. */
function add(disk: Disk, path: string, text: string, like?: string): boolean {
  const fresh = unfinishedName(path);
  disk.create(fresh, text, like);
  const isOurs = disk.name(fresh, path);
  disk.remove(fresh);
  disk.flush(directoryOf(path));
  return isOurs;
}

/** Renames the single plugin to its backup. From then on the runtime uses the list, even if the single plugin sorted first. */
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
