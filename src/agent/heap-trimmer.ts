// Keeps the agent's memory near to what it needs. The engine collects garbage when the heap has
// doubled or grown by tens of megabytes, whichever comes later, and every reconcile pass over
// thousands of peers allocates that much.
import { edenGC, fullGC } from "bun:jsc";

/**
 * Most values of a pass are garbage soon after they were made. A collection of young values is several times as
 * fast as one of the whole heap, so there is one whenever this much was allocated.
 */
const youngBytes = 4 * 1024 * 1024;
/** Values that survive young collections, needed or not, must not add up to more than this. */
const wholeBytes = 24 * 1024 * 1024;
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

  /**
   * Collects garbage if there is much of it. Call it as soon as large values are no longer needed, and
   * after a pause, in which a list may have allocated more or memory may have been returned.
   */
  trim(): void {
    const { heap } = this;
    const bytes = heap.residentBytes();
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
    const grownBytes = bytes - this.#leastBytes;
    if (grownBytes < youngBytes) return;
    const nowMs = this.now();
    if (grownBytes < wholeBytes && nowMs - this.#wholeAtMs < wholeMs) {
      heap.collectYoung();
      return;
    }
    heap.collectWhole();
    this.#leastBytes = heap.residentBytes();
    this.#wholeAtMs = nowMs;
  }
}
