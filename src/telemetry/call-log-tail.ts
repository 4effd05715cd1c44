// Reads the calls that plugin processes have logged (net/call-log.ts) since the last read, from the end
// of the file at the agent's start on. It reads only during a scrape, so a pod's start does not wake the
// agent. The file stays open, so that lines are read that were written before its rotation:
//
//   calls.log ──past its bound──► calls.log.1 ──► deleted, but open here
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { type CallRecord, callLogName, parseCall } from "../net/call-log.ts";

/** The writers bound a file to a mebibyte; the rest is read the next time. */
const maxReadBytes = 4 * 1024 * 1024;

interface Opened {
  readonly fd: number;
  readonly identity: string;
  /** Offset of the next line. */
  offset: number;
}

export interface CallLogLines {
  readonly calls: readonly CallRecord[];
  /** Number of lines that are not log lines. */
  readonly malformed: number;
}

export class CallLogTail implements Disposable {
  readonly #path: string;
  #opened: Opened | undefined;

  constructor(stateDir: string) {
    this.#path = `${stateDir}/${callLogName}`;
    this.#opened = open(this.#path);
    if (this.#opened !== undefined) this.#opened.offset = fstatSync(this.#opened.fd).size;
  }

  [Symbol.dispose](): void {
    if (this.#opened !== undefined) closeSync(this.#opened.fd);
    this.#opened = undefined;
  }

  /** Returns the calls that have ended since the last read. */
  read(): CallLogLines {
    const held = this.#opened;
    const lines = held === undefined ? [] : readLines(held);
    const current = identify(this.#path);
    if (current !== undefined && current !== held?.identity) lines.push(...this.#follow(held));
    const records = lines.map(parseCall);
    const calls = records.filter((record) => record !== undefined);
    return { calls, malformed: records.length - calls.length };
  }

  /** Continues with the present file, after the rotated file between it and the open one. */
  #follow(held: Opened | undefined): string[] {
    const lines: string[] = [];
    const before = held === undefined ? undefined : open(`${this.#path}.1`);
    if (before !== undefined) {
      // Two writers may have rotated the file one after the other.
      if (before.identity !== held?.identity) lines.push(...readLines(before));
      closeSync(before.fd);
    }
    if (held !== undefined) closeSync(held.fd);
    this.#opened = open(this.#path);
    if (this.#opened !== undefined) lines.push(...readLines(this.#opened));
    return lines;
  }
}

/** Returns undefined if there is no such regular file. */
function open(path: string): Opened | undefined {
  if (identify(path) === undefined) return undefined;
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  return { fd, identity: identityOf(fstatSync(fd)), offset: 0 };
}

function identify(path: string): string | undefined {
  const status = lstatSync(path, { throwIfNoEntry: false });
  return status?.isFile() ? identityOf(status) : undefined;
}

function identityOf({ dev, ino }: { readonly dev: number; readonly ino: number }): string {
  return `${dev}:${ino}`;
}

/** Returns the new complete lines; an incomplete one is read the next time. */
function readLines(opened: Opened): string[] {
  const { size } = fstatSync(opened.fd);
  // The file was truncated.
  if (size < opened.offset) opened.offset = 0;
  const buffer = Buffer.alloc(Math.min(size - opened.offset, maxReadBytes));
  const length = readSync(opened.fd, buffer, 0, buffer.length, opened.offset);
  const end = buffer.lastIndexOf("\n", length - 1);
  if (end < 0) {
    // The plugin writes no line of this length.
    if (length === maxReadBytes) opened.offset += length;
    return [];
  }
  opened.offset += end + 1;
  return buffer.toString("utf8", 0, end).split("\n");
}
