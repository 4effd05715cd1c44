// Turns failures into errors for the CNI runtime, with their codes (CNI specification 1.1.0, "Error";
// up to 99 are the specification's, from 100 on ours). Other parts throw their own classes, which are
// recognised here by name: importing them would make VERSION open bun:sqlite and bun:ffi.
import { printable } from "../net/printable.ts";

export const cniCodes = {
  incompatibleVersion: 1,
  /** A configuration key we must not ignore; the message has the key and its value. */
  unsupportedField: 2,
  unknownContainer: 3,
  /** The message names the variables. */
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  /** The given namespace is the runtime's own, as in the reference library. */
  invalidNetns: 8,
  /** The runtime may repeat the call as it is. */
  tryAgain: 11,
  /** STATUS: ADD would fail. */
  unavailable: 50,
  /** STATUS: ADD would fail, and running containers may have lost connectivity. */
  limited: 51,
  /** A defect of ours. */
  internal: 100,
  /** The kernel refused a request. */
  kernel: 101,
  /** A system call failed. */
  system: 102,
  /** An object that ADD must create exists already. */
  exists: 103,
  /** CHECK found something missing or changed. */
  checkFailed: 104,
  /** No address is left. */
  exhausted: 105,
  /** A delegated plugin failed without saying how. */
  delegate: 106,
  /** GC removed all that it could, but not everything. */
  incomplete: 107,
  /** In strict mode: traffic of the pod could not be encrypted, or its address belongs to another node. */
  unprotected: 108,
} as const;

export type CniErrorKind = keyof typeof cniCodes;

export interface CniErrorOptions {
  readonly details?: string;
  readonly cause?: unknown;
}

/** A failure with its code, ready for the runtime. */
export class CniError extends Error {
  override readonly name = "CniError";
  readonly code: number;
  readonly details?: string;

  constructor(kind: CniErrorKind | { readonly code: number }, msg: string, options: CniErrorOptions = {}) {
    super(msg, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = typeof kind === "string" ? cniCodes[kind] : kind.code;
    if (options.details !== undefined && options.details !== "") this.details = options.details;
  }
}

const kindsByName: Readonly<Record<string, CniErrorKind>> = {
  ParseError: "invalidConfig",
  DecodeError: "kernel",
  NetlinkError: "kernel",
  SysError: "system",
};

/** Converts anything that was thrown to a CniError with the code for a runtime. */
export function toCniError(thrown: unknown): CniError {
  if (thrown instanceof CniError) return thrown;
  if (!(thrown instanceof Error)) return defect(String(thrown), thrown);
  const details = causes(thrown.cause);
  if (thrown.name === "StoreError") {
    const kind = (thrown as { readonly kind?: unknown }).kind === "busy" ? "tryAgain" : "io";
    return new CniError(kind, thrown.message, { details, cause: thrown });
  }
  const kind = kindsByName[thrown.name];
  if (kind === undefined) return defect(`${thrown.name}: ${thrown.message}`, thrown);
  return new CniError(kind, thrown.message, { details, cause: thrown });
}

/** The longest message and the longest details, in characters: a runtime writes both into its log and into events. */
const maxTextLength = 4000;

/**
 * Returns the JSON text that a runtime reads from stdout. `version` is the caller's. Message and
 * details are escaped before they become JSON: the runtime shows them as they were before.
 */
export function formatError({ code, message, details }: CniError, version: string): string {
  const msg = printable(message, maxTextLength);
  if (details === undefined) return JSON.stringify({ cniVersion: version, code, msg });
  return JSON.stringify({ cniVersion: version, code, msg, details: printable(details, maxTextLength) });
}

/** The runtime shows the message in events of the pod; the stack is for the log (`findTrace`). */
function defect(text: string, thrown: unknown): CniError {
  return new CniError(
    "internal",
    `wg-cni failed unexpectedly: ${text}. This is a defect: please report it as an issue of the repository, with the lines of this call in plugin.log beside the store.`,
    { cause: thrown },
  );
}

const stackCharacters = 2000;

/** Returns the stack of an error that is a defect of ours, for the log; undefined for every other error. */
export function findTrace(thrown: unknown): string | undefined {
  const isDefect = toCniError(thrown).code === cniCodes.internal;
  return isDefect && thrown instanceof Error ? thrown.stack?.slice(0, stackCharacters) : undefined;
}

const causesLimit = 8;

/** Joins the chain of causes into one line, outermost first. */
function causes(cause: unknown): string {
  const texts: string[] = [];
  let next = cause;
  while (next !== undefined && next !== null && texts.length < causesLimit) {
    texts.push(next instanceof Error ? next.message : String(next));
    next = next instanceof Error ? next.cause : undefined;
  }
  return texts.join(": ");
}
