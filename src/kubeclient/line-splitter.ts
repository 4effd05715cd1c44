// Splits a stream of bytes into lines. A line may arrive in pieces; a line that exceeds the bound is an
// error. Pure.
import { KubeError } from "../kube/error.ts";

/** The API server stores no object above 1.5 MiB, and a watch event contains one object. */
const maxLineBytes = 4 * 1024 * 1024;
const newline = 0x0a;

export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #pieces: Uint8Array[] = [];
  #length = 0;

  /** Yields the lines that the chunk completes, without line ends and without empty lines. Throws KubeError if one is too long. */
  *split(chunk: Uint8Array): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      this.#add(chunk.subarray(start, end));
      const line = this.#decoder.decode(Buffer.concat(this.#pieces));
      this.#pieces = [];
      this.#length = 0;
      start = end + 1;
      if (line.trim() !== "") yield line;
    }
    // The stream may use the chunk's memory again.
    if (start < chunk.length) this.#add(chunk.slice(start));
  }

  #add(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > maxLineBytes)
      throw new KubeError(
        `The API server sent a line of more than ${maxLineBytes / 1024 / 1024} MiB in a watch; no object is that large.`,
        { status: 200 },
      );
    this.#pieces.push(piece);
  }
}
