// Keeps what the agent takes of the node's memory near to what it needs. The
// engine collects garbage when the heap has doubled or grown by tens of megabytes,
// whichever comes later, and thousands of peers make that much at every look.

/** A collection takes 15 ms with 5,000 peers; few of them never get that far. */
const toleratedBytes = 4 * 1024 * 1024;

export class Garbage {
  /** The least resident memory since the last collection: what it frees is given back only later. */
  #leastBytes: number;

  /** The engine's own, but for tests. */
  constructor(
    private readonly residentBytes: () => number = () => process.memoryUsage.rss(),
    private readonly free: () => void = () => Bun.gc(true),
  ) {
    this.#leastBytes = residentBytes();
  }

  /**
   * Collects if there is much of it. Call it where what was just made is needed no longer, and
   * after a pause, in which more may have been made (a list) or been given back.
   */
  collect(): void {
    const bytes = this.residentBytes();
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
    if (bytes - this.#leastBytes < toleratedBytes) return;
    this.free();
    this.#leastBytes = this.residentBytes();
  }
}
