// Stamps tell whether a file or a directory has changed, without reading it.
import { lstatSync, statSync } from "node:fs";

/**
 * The identity of a file and the time of its last change: the text differs for another file, also for one of the
 * same size and time that was renamed to the name (only the kernel sets ctime). "" if there is none.
 */
export function stampOf(path: string): string {
  try {
    const status = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (status === undefined) return "";
    const { dev, ino, mode, size, mtimeNs, ctimeNs } = status;
    return `${dev}:${ino}:${mode}:${size}:${mtimeNs}:${ctimeNs}`;
  } catch (error) {
    // A later read reports the reason.
    return (error as { readonly code?: string }).code ?? "unknown";
  }
}

/** The size of the file in bytes, as its stamp has it; 0 if there is none. */
export function sizeOf(stamp: string): number {
  return Number(stamp.split(":")[3] ?? 0);
}

/** Returns a stamp of the directory that a path leads to: it also differs after a file was added, renamed or removed there. */
export function directoryStamp(directory: string): string {
  try {
    const { dev, ino, mtimeNs, ctimeNs } = statSync(directory, { bigint: true });
    return `${dev}:${ino}:${mtimeNs}:${ctimeNs}`;
  } catch {
    return "";
  }
}
