// Says how much of a file is in the page cache, and takes it out. How a file came there decides how fast it
// is mapped later: read from beginning to end it lies in large folios, filled by page faults in small ones.
import { closeFd, openFile, readStatus } from "./file.ts";
import { rawSyscall, syscall } from "./syscall.ts";

const PROT_READ = 1;
const MAP_SHARED = 1;
const POSIX_FADV_DONTNEED = 4;
/** The smallest page of the kernels that we run on. Larger ones fill a part of the answer, as smaller files do. */
const pageBytes = 4096;

export interface Cached {
  readonly sizeBytes: number;
  /** The bytes that are not in the page cache: whole pages, so a little more than the size if none is. */
  readonly missingBytes: number;
}

/** Throws SysError. */
export function readCached(path: string): Cached {
  return onFile(path, (fd) => {
    const { sizeBytes } = readStatus(fd, path);
    if (sizeBytes === 0) return { sizeBytes, missingBytes: 0 };
    const address = syscall("mmap", path, 0, sizeBytes, PROT_READ, MAP_SHARED, fd, 0);
    try {
      // One byte a page, whose lowest bit says that the page is there (mincore(2)).
      const pages = new Uint8Array(Math.ceil(sizeBytes / pageBytes));
      syscall("mincore", path, address, sizeBytes, pages);
      const missing = pages.reduce((count, page) => count + (page & 1 ? 0 : 1), 0);
      return { sizeBytes, missingBytes: missing * pageBytes };
    } finally {
      rawSyscall("munmap", address, sizeBytes);
    }
  });
}

/** Takes a file out of the page cache, except for pages that a process has mapped. Throws SysError. */
export function evict(path: string): void {
  onFile(path, (fd) => {
    // Pages that are not on disk yet would stay.
    syscall("fsync", path, fd);
    syscall("fadvise64", path, fd, 0, 0, POSIX_FADV_DONTNEED);
  });
}

function onFile<T>(path: string, use: (fd: number) => T): T {
  const fd = openFile(path);
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}
