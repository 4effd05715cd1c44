// Reads what plugin processes have noted of their calls (net/verb.ts) since it was
// asked last, from the end of the file on that the agent found at its start. It
// reads when somebody scrapes: nobody is woken by a pod. The file that is being
// read stays open, so that the lines it got before it was moved aside are read too:
//
//   calls.log ──past its bound──► calls.log.1 ──► gone, but open here
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { type CallRecord, callLogName, parseCall } from "../net/call-log.ts";

/** The writers keep a file at a mebibyte; what is more is read the next time. */
const maxReadBytes = 4 * 1024 * 1024;

interface Opened {
  readonly fd: number;
  readonly identity: string;
  /** Where the next line begins. */
  offset: number;
}

export interface CallLogLines {
  readonly calls: readonly CallRecord[];
  /** Lines that are none of ours. */
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

  /** The calls that have ended since the last read. */
  read(): CallLogLines {
    const held = this.#opened;
    const lines = held === undefined ? [] : readLines(held);
    const current = identify(this.#path);
    if (current !== undefined && current !== held?.identity) lines.push(...this.#follow(held));
    const records = lines.map(parseCall);
    const calls = records.filter((record) => record !== undefined);
    return { calls, malformed: records.length - calls.length };
  }

  /** Goes on with the file that has the name now, and what lies between it and the one held. */
  #follow(held: Opened | undefined): string[] {
    const lines: string[] = [];
    const before = held === undefined ? undefined : open(`${this.#path}.1`);
    if (before !== undefined) {
      // Two writers may have moved the file aside one after the other.
      if (before.identity !== held?.identity) lines.push(...readLines(before));
      closeSync(before.fd);
    }
    if (held !== undefined) closeSync(held.fd);
    this.#opened = open(this.#path);
    if (this.#opened !== undefined) lines.push(...readLines(this.#opened));
    return lines;
  }
}

/** Undefined where there is no such file; a link or a pipe is none. */
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

/** The whole lines that are new; one that is still being written waits for the next time. */
function readLines(opened: Opened): string[] {
  const { size } = fstatSync(opened.fd);
  // Somebody emptied it.
  if (size < opened.offset) opened.offset = 0;
  const buffer = Buffer.alloc(Math.min(size - opened.offset, maxReadBytes));
  const length = readSync(opened.fd, buffer, 0, buffer.length, opened.offset);
  const end = buffer.lastIndexOf("\n", length - 1);
  if (end < 0) {
    // So much without an end of a line is not ours.
    if (length === maxReadBytes) opened.offset += length;
    return [];
  }
  opened.offset += end + 1;
  return buffer.toString("utf8", 0, end).split("\n");
}
