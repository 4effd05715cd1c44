// Keeps what the agent takes of the node's memory near to what it needs. The
// engine collects garbage when the heap has doubled or grown by tens of megabytes,
// whichever comes later, and thousands of peers make that much at every look.

/** A collection takes 15 ms with 5,000 peers; few of them never get that far. */
const toleratedBytes = 16 * 1024 * 1024;

export class Garbage {
  /** Resident memory after the last collection. */
  #settledBytes = process.memoryUsage.rss();

  /** Collects if there is much of it. Call it where what was just made is needed no longer. */
  collect(): void {
    if (process.memoryUsage.rss() - this.#settledBytes < toleratedBytes) return;
    Bun.gc(true);
    this.#settledBytes = process.memoryUsage.rss();
  }
}
