// The functions place our executable in the runtime's directory of plugins. They
// replace it by rename, so a running call keeps the file that it started from.

import { ownType } from "./conflist.ts";
import { type Disk, InstallError, unfinishedName } from "./disk.ts";

const lockTimeoutMs = 60_000;

export function binaryPath(binDir: string): string {
  return `${binDir}/${ownType}`;
}

/**
 * Installs `source` unless the same file is there already, and reads it once so that
 * the first pod does not wait for the disk. Returns true if it wrote. Throws InstallError.
 */
export function installBinary(disk: Disk, source: string, binDir: string): boolean {
  if (disk.list(binDir) === undefined)
    throw new InstallError(
      `There is no directory ${binDir}: name the one that the runtime takes plugins from with --bin-dir, for instance /home/kubernetes/bin (GKE) or /usr/lib/cni (Debian).`,
    );
  using _lock = disk.lock(binDir, lockTimeoutMs);
  const path = binaryPath(binDir);
  const unfinished = unfinishedName(path);
  // An installer that was killed half-way may have left it.
  disk.remove(unfinished);
  // The comparison reads the whole file.
  if (disk.isSameProgram(source, path)) return false;
  disk.copy(source, unfinished);
  disk.rename(unfinished, path);
  disk.flush(binDir);
  disk.warm(path);
  return true;
}

/** Removes the executable; returns false if there was none. No network configuration may name it any more. Throws InstallError. */
export function removeBinary(disk: Disk, binDir: string): boolean {
  if (disk.list(binDir) === undefined) return false;
  using _lock = disk.lock(binDir, lockTimeoutMs);
  const path = binaryPath(binDir);
  disk.remove(unfinishedName(path));
  if (!disk.has(path)) return false;
  disk.remove(path);
  disk.flush(binDir);
  return true;
}
