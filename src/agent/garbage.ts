// Keeps what the agent takes of the node's memory near to what it needs. The
// engine collects garbage when the heap has doubled or grown by tens of megabytes,
// whichever comes later, and thousands of peers make that much at every look.

/** A collection takes 15 ms with 5,000 peers; few of them never get that far. */
const toleratedBytes = 16 * 1024 * 1024;

export class Garbage {
  /** The least resident memory since the last collection: what it frees is given back only later. */
  #leastBytes = process.memoryUsage.rss();

  /** Collects if there is much of it. Call it where what was just made is needed no longer. */
  collect(): void {
    const bytes = process.memoryUsage.rss();
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
    if (bytes - this.#leastBytes < toleratedBytes) return;
    Bun.gc(true);
    this.#leastBytes = process.memoryUsage.rss();
  }
}
