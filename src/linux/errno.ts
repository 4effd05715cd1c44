// Names and texts of Linux error numbers (asm-generic/errno.h, the same on
// x86-64 and arm64; texts as strerror(3) prints them). No behaviour.

/** Error numbers that code here branches on. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EINVAL: 22,
  EFBIG: 27,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  EPROTO: 71,
  EMSGSIZE: 90,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  EISCONN: 106,
  ECONNREFUSED: 111,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
} as const;

const texts: Record<number, string> = {
  1: "EPERM Operation not permitted",
  2: "ENOENT No such file or directory",
  3: "ESRCH No such process",
  4: "EINTR Interrupted system call",
  5: "EIO Input/output error",
  6: "ENXIO No such device or address",
  7: "E2BIG Argument list too long",
  9: "EBADF Bad file descriptor",
  11: "EAGAIN Resource temporarily unavailable",
  12: "ENOMEM Cannot allocate memory",
  13: "EACCES Permission denied",
  14: "EFAULT Bad address",
  16: "EBUSY Device or resource busy",
  17: "EEXIST File exists",
  18: "EXDEV Invalid cross-device link",
  19: "ENODEV No such device",
  20: "ENOTDIR Not a directory",
  21: "EISDIR Is a directory",
  22: "EINVAL Invalid argument",
  23: "ENFILE Too many open files in system",
  24: "EMFILE Too many open files",
  26: "ETXTBSY Text file busy",
  27: "EFBIG File too large",
  28: "ENOSPC No space left on device",
  29: "ESPIPE Illegal seek",
  30: "EROFS Read-only file system",
  32: "EPIPE Broken pipe",
  34: "ERANGE Numerical result out of range",
  36: "ENAMETOOLONG File name too long",
  38: "ENOSYS Function not implemented",
  39: "ENOTEMPTY Directory not empty",
  40: "ELOOP Too many levels of symbolic links",
  61: "ENODATA No data available",
  71: "EPROTO Protocol error",
  74: "EBADMSG Bad message",
  75: "EOVERFLOW Value too large for defined data type",
  90: "EMSGSIZE Message too long",
  92: "ENOPROTOOPT Protocol not available",
  93: "EPROTONOSUPPORT Protocol not supported",
  95: "EOPNOTSUPP Operation not supported",
  97: "EAFNOSUPPORT Address family not supported by protocol",
  98: "EADDRINUSE Address already in use",
  99: "EADDRNOTAVAIL Cannot assign requested address",
  100: "ENETDOWN Network is down",
  101: "ENETUNREACH Network is unreachable",
  104: "ECONNRESET Connection reset by peer",
  105: "ENOBUFS No buffer space available",
  106: "EISCONN Transport endpoint is already connected",
  107: "ENOTCONN Transport endpoint is not connected",
  110: "ETIMEDOUT Connection timed out",
  111: "ECONNREFUSED Connection refused",
  112: "EHOSTDOWN Host is down",
  113: "EHOSTUNREACH No route to host",
  114: "EALREADY Operation already in progress",
  115: "EINPROGRESS Operation now in progress",
  116: "ESTALE Stale file handle",
  122: "EDQUOT Disk quota exceeded",
  126: "ENOKEY Required key not available",
};

/** The name of an error number: "ENOENT". */
export function errnoCode(errno: number): string {
  return texts[errno]?.split(" ", 1)[0] ?? `errno ${errno}`;
}

/** The text of strerror(3): "No such file or directory". */
export function errnoText(errno: number): string {
  return texts[errno]?.replace(/^\S+ /, "") ?? "unknown error";
}

export interface SystemFailure {
  /** "ENOENT" */
  readonly code: string;
  /** "ENOENT (No such file or directory)" */
  readonly reason: string;
}

/** The system's part of an error of our own system calls or of the runtime's; undefined for every other error. */
export function findSystemFailure(error: unknown): SystemFailure | undefined {
  const { code, errno } = error as { readonly code?: string; readonly errno?: number };
  if (code === undefined || errno === undefined) return undefined;
  return { code, reason: `${code} (${errnoText(Math.abs(errno))})` };
}
