// What nobody but the owner may open. Whoever can open a file, to read only, can hold a lock on it for
// ever, and flock(2) asks for no more; so a lock is on a file of mode 0600, never on a folder or a file
// that others may read. Owners are root and the user that this process runs as.
import { Errno } from "./errno.ts";
import { chmod, closeFd, type FileStatus, findLinkStatus, findStatus, openFile, readStatus } from "./file.ts";
import { SysError } from "./syscall.ts";

const O_RDWR = 0o2;
const O_CREAT = 0o100;
const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = 0o400000;
/** Permission bits of everybody but the owner. */
const othersBits = 0o077;

/** Something is another user's, or is not what it should be: a whole sentence with a remedy. */
export class ExposureError extends Error {
  override readonly name = "ExposureError";
}

/** Opens a file for reading and writing, making it where there is none. Throws SysError, ExposureError. */
export function openPrivate(path: string): number {
  const fd = openFile(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    close(path, readStatus(fd, path), "file");
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Takes everybody else's rights to a folder away; false if there is none. Throws SysError, ExposureError. */
export function closeFolder(path: string): boolean {
  const status = findStatus(path);
  if (status === undefined) return false;
  if (status.kind !== "folder") throw new SysError("mkdirat", Errno.EEXIST, path);
  close(path, status, "folder");
  return true;
}

/** The same for a file, which may not be a link either; without opening it. Throws SysError, ExposureError. */
export function closeFile(path: string): boolean {
  const status = findLinkStatus(path);
  if (status === undefined) return false;
  close(path, status, "file");
  return true;
}

function close(path: string, { kind, uid, mode }: FileStatus, expected: FileStatus["kind"]): void {
  if (kind !== expected)
    throw new ExposureError(
      `${path} is no regular file: whoever made it may have done so to stop wg-cni. Remove it.`,
    );
  if (uid !== 0 && uid !== process.geteuid?.())
    throw new ExposureError(
      `${path} belongs to user ${uid}, who could change what wg-cni does. Find out why, then give it to root: \`chown root ${path}\`.`,
    );
  if ((mode & othersBits) !== 0) chmod(path, expected === "folder" ? 0o700 : 0o600);
}
