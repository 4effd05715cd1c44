// Files that only the owner may open. A user who can open a file, even read-only, can hold a lock on it for
// ever, and flock(2) asks for no more; so a lock is on a file of mode 0600, never on a directory or a file
// that other users may read. Owners are root and the user that this process runs as.
import { Errno } from "./errno.ts";
import {
  chmod,
  closeFd,
  type FileStatus,
  findLinkStatus,
  findStatus,
  listDirectory,
  openFile,
  readStatus,
} from "./file.ts";
import { SysError } from "./syscall.ts";

const O_RDWR = 0o2;
const O_CREAT = 0o100;
const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = 0o400000;
/** The permission bits of the group and of all other users. */
const othersBits = 0o077;
const othersWrite = 0o022;

/** Something is another user's, or is not what it should be: a whole sentence with a remedy. */
export class ExposureError extends Error {
  override readonly name = "ExposureError";
}

/** Opens a file for reading and writing, and creates it if there is none. Throws SysError, ExposureError. */
export function openPrivate(path: string): number {
  const fd = openFile(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    close(path, readStatus(fd, path));
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/**
 * Removes other users' rights to a directory if all that is in it is ours: one that was given by
 * mistake keeps its mode, and is refused if other users may write there. Throws SysError, ExposureError.
 */
export function closeDirectory(path: string, isOurs: (name: string) => boolean): void {
  const link = findLinkStatus(path);
  if (link?.kind === "other") refuseOwner(path, link);
  const status = findStatus(path);
  if (status === undefined) return;
  if (status.kind !== "directory") throw new SysError("mkdirat", Errno.EEXIST, path);
  refuseOwner(path, status);
  if ((status.mode & othersBits) === 0) return;
  if (listDirectory(path).every(isOurs)) chmod(path, 0o700);
  else if ((status.mode & othersWrite) !== 0)
    throw new ExposureError(
      `${path} can be written by others (mode ${status.mode.toString(8)}) and holds more than wg-cni's state: choose a directory for it alone, or take the rights away: \`chmod 700 ${path}\`.`,
    );
}

/** Removes all other users' rights to a file, which may not be a link, without opening it. Throws SysError, ExposureError. */
export function closeFile(path: string): boolean {
  const status = findLinkStatus(path);
  if (status === undefined) return false;
  close(path, status);
  return true;
}

function close(path: string, status: FileStatus): void {
  if (status.kind !== "file")
    throw new ExposureError(
      `${path} is no regular file: another user may have made it to stop wg-cni. Remove it.`,
    );
  refuseOwner(path, status);
  if ((status.mode & othersBits) !== 0) chmod(path, 0o600);
}

function refuseOwner(path: string, { uid }: FileStatus): void {
  if (uid === 0 || uid === process.geteuid?.()) return;
  throw new ExposureError(
    `${path} belongs to user ${uid}, who could change what wg-cni does. Find out why, then give it to root: \`chown root ${path}\`.`,
  );
}
