// Checks the state without SQLite, for STATUS, which runtimes call every five
// seconds: could an ADD open and write it? Opening the database costs four
// times as much. Writes nothing.
//
//   offset 0   "SQLite format 3\0"         (SQLite's "Database File Format", 1.3)
//   offset 60  user_version, u32, big endian
import { closeFd, findAccessError, isAbsent, openFile, W_OK } from "../linux/file.ts";
import { type SysError, syscall } from "../linux/syscall.ts";
import { corruptError, findStoreError, newerVersionError, type StoreError } from "./error.ts";
import { migrations } from "./schema.ts";

const O_RDWR = 0o2;
const O_NONBLOCK = 0o4000;
const headerBytes = 100;
const magic = "SQLite format 3\0";
const versionOffset = 60;

/** Returns the reason why an ADD could not use the state, as far as its header tells; undefined if it could. */
export function findStateFault(stateDir: string): StoreError | undefined {
  const path = `${stateDir}/state.db`;
  try {
    return findHeaderFault(path, readHeader(path));
  } catch (error) {
    // There is no state yet: the first ADD creates it, if it may.
    const reason = isAbsent(error) ? findReasonNotToWrite(stateDir) : error;
    if (reason === undefined) return undefined;
    const fault = findStoreError(path, reason);
    if (fault === undefined) throw error;
    return fault;
  }
}

/** Returns the reason why nothing can be created in the directory, or in the nearest one above it that exists. */
function findReasonNotToWrite(directory: string): SysError | undefined {
  const refused = findAccessError(directory, W_OK);
  if (refused?.code !== "ENOENT" || directory === "/") return refused;
  return findReasonNotToWrite(directory.slice(0, directory.lastIndexOf("/")) || "/");
}

/** This process has no other descriptor of the file, so closing one drops no lock (fcntl(2)). */
function readHeader(path: string): Uint8Array {
  const fd = openFile(path, O_RDWR | O_NONBLOCK);
  try {
    const header = new Uint8Array(headerBytes);
    return header.subarray(0, syscall("read", path, fd, header, header.length));
  } finally {
    closeFd(fd);
  }
}

function findHeaderFault(path: string, header: Uint8Array): StoreError | undefined {
  for (let i = 0; i < magic.length; i++)
    if (header[i] !== magic.charCodeAt(i))
      return corruptError(path, "it does not begin as an SQLite file does");
  const version = new DataView(header.buffer, header.byteOffset).getUint32(versionOffset);
  if (version === 0) return corruptError(path, "it is not one of wg-cni's");
  // An older version is migrated by the next ADD; a newer one is refused by it.
  return version > migrations.length ? newerVersionError(path, version, migrations.length) : undefined;
}
