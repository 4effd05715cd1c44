// The messages between a plugin process and the plugin server of the agent, on a Unix stream socket:
//
//   server -> process   hello     the server's build; from now on it takes a request
//   process -> server   request   once: the server alone serves it from here on
//   server -> process   stdout | stderr ..., then exit; or declined: nothing was begun
//
// A request is two lengths (little-endian, 32 bits each), the head as JSON, and the bytes of standard
// input. A reply is its kind (8 bits), a length (32 bits) and the text. Pure.
import { DecodeError } from "./error.ts";

export interface CallHead {
  /** The CNI_* variables. */
  readonly env: Readonly<Record<string, string>>;
  /** The identity of the caller's own network namespace (linux/netns.ts). */
  readonly netns: string;
  /** The age of the caller's process in milliseconds when it sent this. */
  readonly elapsedMs: number;
  /** The time at which it sent this, in milliseconds on the host's clock that only goes forward. */
  readonly sentAtMs: number;
}

export interface Call extends CallHead {
  readonly stdin: Uint8Array;
}

/** The kinds of replies; the number is the place in the list. */
const replyKinds = ["hello", "stdout", "stderr", "exit", "declined"] as const;
export type ReplyKind = (typeof replyKinds)[number];

export interface Reply {
  readonly kind: ReplyKind;
  readonly text: string;
}

const lengthsBytes = 8;
const replyHeadBytes = 5;
/** Beyond any environment that a runtime makes. */
const maxHeadBytes = 256 * 1024;
/** A configuration of 1 MiB, which is the most that the plugin takes, is answered with as much. */
const maxReplyBytes = 4 * 1024 * 1024;

export function encodeCall({ stdin, ...head }: Call): Uint8Array {
  const headBytes = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(lengthsBytes + headBytes.length + stdin.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, headBytes.length, true);
  view.setUint32(4, stdin.length, true);
  bytes.set(headBytes, lengthsBytes);
  bytes.set(stdin, lengthsBytes + headBytes.length);
  return bytes;
}

/** Collects the bytes of one request, which come in pieces. */
export class CallReader {
  readonly #lengths = new Uint8Array(lengthsBytes);
  #lengthsRead = 0;
  #headBytes = 0;
  #body: Uint8Array | undefined;
  #bodyRead = 0;

  constructor(private readonly maxStdinBytes: number) {}

  /** Returns the request once it is complete. Throws DecodeError if the bytes are none. */
  push(piece: Uint8Array): Call | undefined {
    const rest = this.#readLengths(piece);
    const body = this.#body;
    if (body === undefined) return undefined;
    if (rest.length > body.length - this.#bodyRead) throw new DecodeError("bytes follow the request");
    body.set(rest, this.#bodyRead);
    this.#bodyRead += rest.length;
    if (this.#bodyRead < body.length) return undefined;
    const head = readHead(new TextDecoder().decode(body.subarray(0, this.#headBytes)));
    return { ...head, stdin: body.subarray(this.#headBytes) };
  }

  /** Returns the bytes of the piece that follow the lengths. */
  #readLengths(piece: Uint8Array): Uint8Array {
    if (this.#body !== undefined) return piece;
    const part = piece.subarray(0, lengthsBytes - this.#lengthsRead);
    this.#lengths.set(part, this.#lengthsRead);
    this.#lengthsRead += part.length;
    if (this.#lengthsRead < lengthsBytes) return piece.subarray(part.length);
    const view = new DataView(this.#lengths.buffer);
    const [headBytes, stdinBytes] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (headBytes > maxHeadBytes || stdinBytes > this.maxStdinBytes)
      throw new DecodeError(`a request of ${headBytes} and ${stdinBytes} bytes is larger than any`);
    this.#headBytes = headBytes;
    this.#body = new Uint8Array(headBytes + stdinBytes);
    return piece.subarray(part.length);
  }
}

function readHead(text: string): CallHead {
  const head = parseObject(text);
  const { env, netns, elapsedMs, sentAtMs } = head;
  if (
    typeof netns !== "string" ||
    typeof elapsedMs !== "number" ||
    typeof sentAtMs !== "number" ||
    !isTexts(env)
  )
    throw new DecodeError("the head of a request lacks env, netns, elapsedMs or sentAtMs");
  return { env, netns, elapsedMs, sentAtMs };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // The error below says it.
  }
  throw new DecodeError("the head of a request is no JSON object");
}

function isTexts(value: unknown): value is Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).every((text) => typeof text === "string");
}

export function encodeReply({ kind, text }: Reply): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const bytes = new Uint8Array(replyHeadBytes + payload.length);
  bytes[0] = replyKinds.indexOf(kind);
  new DataView(bytes.buffer).setUint32(1, payload.length, true);
  bytes.set(payload, replyHeadBytes);
  return bytes;
}

/** Reads replies by a function that gives the next bytes, none at the end of the stream. */
export class ReplyReader {
  #bytes = new Uint8Array(0);

  constructor(private readonly receive: () => Uint8Array) {}

  /** Returns undefined if the stream ends before a whole reply. Throws DecodeError, and what `receive` throws. */
  next(): Reply | undefined {
    if (!this.#fill(replyHeadBytes)) return undefined;
    const kind = replyKinds[this.#bytes[0] as number];
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset);
    const length = view.getUint32(1, true);
    if (kind === undefined || length > maxReplyBytes) throw new DecodeError("the reply is none of ours");
    if (!this.#fill(replyHeadBytes + length)) return undefined;
    const text = new TextDecoder().decode(this.#bytes.subarray(replyHeadBytes, replyHeadBytes + length));
    this.#bytes = this.#bytes.subarray(replyHeadBytes + length);
    return { kind, text };
  }

  #fill(length: number): boolean {
    while (this.#bytes.length < length) {
      const piece = this.receive();
      if (piece.length === 0) return false;
      const joined = new Uint8Array(this.#bytes.length + piece.length);
      joined.set(this.#bytes);
      joined.set(piece, this.#bytes.length);
      this.#bytes = joined;
    }
    return true;
  }
}
