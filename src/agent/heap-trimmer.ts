// Keeps the agent's memory near to what it needs. The engine collects garbage when the heap has
// doubled or grown by tens of megabytes, whichever comes later, and every reconcile pass over
// thousands of peers allocates that much.

/** A collection takes 15 ms with 5,000 peers; few of them never get that far. */
const toleratedBytes = 4 * 1024 * 1024;

export class HeapTrimmer {
  /** The least resident memory since the last collection, which returns memory to the system only later. */
  #leastBytes: number;

  /** Tests replace both functions. */
  constructor(
    private readonly residentBytes: () => number = () => process.memoryUsage.rss(),
    private readonly collect: () => void = () => Bun.gc(true),
  ) {
    this.#leastBytes = residentBytes();
  }

  /**
   * Collects garbage if there is much of it. Call it as soon as large values are no longer needed, and
   * after a pause, in which a list may have allocated more or memory may have been returned.
   */
  trim(): void {
    const bytes = this.residentBytes();
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
    if (bytes - this.#leastBytes < toleratedBytes) return;
    this.collect();
    this.#leastBytes = this.residentBytes();
  }
}
