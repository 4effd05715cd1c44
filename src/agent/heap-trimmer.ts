// Keeps the agent's memory near to what it needs. The engine collects garbage when the heap has
// doubled or grown by tens of megabytes, whichever comes later, and every reconcile pass over
// thousands of peers allocates that much.
import { edenGC, fullGC } from "bun:jsc";

/**
 * Most values of a pass are garbage soon after they were made. A collection of young values is several times as
 * fast as one of the whole heap, so there is one whenever this much was allocated.
 */
const youngBytes = 4 * 1024 * 1024;
/** Values that survive young collections, needed or not, must not add up to more than this at the end of a pass, */
const wholeBytes = 24 * 1024 * 1024;
/** and to more than this within one, where a collection of the whole heap (60 ms at 5,000 peers) delays a change. */
const wholeWithinBytes = 56 * 1024 * 1024;
/** The heap is rarely collected as a whole while passes follow each other, and soon after the last of them. */
const wholeMs = 5000;

/** Tests replace all of it. */
export interface Heap {
  readonly residentBytes: () => number;
  readonly collectYoung: () => void;
  readonly collectWhole: () => void;
}

const engine: Heap = {
  residentBytes: () => process.memoryUsage.rss(),
  collectYoung: () => void edenGC(),
  collectWhole: () => void fullGC(),
};

export class HeapTrimmer {
  /** The least resident memory since the last whole collection, which returns memory to the system only later. */
  #leastBytes: number;
  #wholeAtMs: number;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(
    private readonly now: () => number,
    private readonly heap: Heap = engine,
  ) {
    this.#leastBytes = heap.residentBytes();
    this.#wholeAtMs = now();
  }

  /** Collects garbage within a pass if there is much of it. Call it as soon as large values are no longer needed. */
  trim(): void {
    const grownBytes = this.#grownBytes();
    if (grownBytes >= wholeWithinBytes) this.#collectWhole();
    else if (grownBytes >= youngBytes) this.heap.collectYoung();
  }

  /** Collects garbage at the end of a pass, after which nothing waits. A pause may come, and memory be returned in it. */
  trimWhole(): void {
    const grownBytes = this.#grownBytes();
    if (grownBytes < youngBytes) return;
    if (grownBytes >= wholeBytes || this.now() - this.#wholeAtMs >= wholeMs) this.#collectWhole();
    else this.heap.collectYoung();
  }

  #grownBytes(): number {
    const bytes = this.heap.residentBytes();
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
    return bytes - this.#leastBytes;
  }

  #collectWhole(): void {
    this.heap.collectWhole();
    this.#leastBytes = this.heap.residentBytes();
    this.#wholeAtMs = this.now();
  }
}
