// Our executable in the folder that the runtime takes plugins from. It is
// exchanged by rename, so a call that is under way keeps the one it started as.

import { ownType } from "./conflist.ts";
import { type Disk, InstallError, unfinishedName } from "./disk.ts";

const lockTimeoutMs = 60_000;

export function binaryPath(binDir: string): string {
  return `${binDir}/${ownType}`;
}

/**
 * Puts `source` there where another is, or none, and reads it once: the first pod
 * then need not wait for the disk. True where it wrote. Throws InstallError.
 */
export function installBinary(disk: Disk, source: string, binDir: string): boolean {
  if (disk.list(binDir) === undefined)
    throw new InstallError(
      `There is no folder ${binDir}: name the one that the runtime takes plugins from with --bin-dir, for instance /home/kubernetes/bin (GKE) or /usr/lib/cni (Debian).`,
    );
  using _lock = disk.lock(binDir, lockTimeoutMs);
  const path = binaryPath(binDir);
  const unfinished = unfinishedName(path);
  // One that was killed half-way has left it.
  disk.remove(unfinished);
  // Comparing reads it.
  if (disk.isSameProgram(source, path)) return false;
  disk.copy(source, unfinished);
  disk.rename(unfinished, path);
  disk.flush(binDir);
  disk.warm(path);
  return true;
}

/** Takes it away; false where there was none. No network may name it any more. Throws InstallError. */
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
