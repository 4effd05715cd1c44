// Records which of a stream's numbered packets arrived, and so which did not. Pure.

/** Packets with consecutive numbers that all arrived. */
export interface Run {
  readonly first: number;
  readonly last: number;
  /** When those two were sent, in milliseconds since the epoch. */
  readonly firstMs: number;
  readonly lastMs: number;
}

/** The packets of a sender: numbers 0 to count - 1. */
export interface Sent {
  readonly count: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

export interface LostRange {
  readonly first: number;
  readonly last: number;
  /** When the last packet before them that arrived was sent, in milliseconds since the epoch. */
  readonly fromMs: number;
  /** The same of the first one after them. */
  readonly toMs: number;
}

export class Arrivals {
  received = 0;
  duplicates = 0;
  /** The longest time that a packet took. */
  slowestMs = 0;
  /** When the packet of that number was sent; NaN while it has not arrived. */
  #sentMs = new Float64Array(1024).fill(Number.NaN);
  #end = 0;

  note(number: number, sentMs: number, arrivedMs: number): void {
    if (number >= this.#sentMs.length) this.#grow(number + 1);
    if (!Number.isNaN(this.#sentMs[number])) {
      this.duplicates++;
      return;
    }
    this.#sentMs[number] = sentMs;
    this.slowestMs = Math.max(this.slowestMs, arrivedMs - sentMs);
    this.received++;
    this.#end = Math.max(this.#end, number + 1);
  }

  runs(): Run[] {
    const runs: Run[] = [];
    const came = (number: number) => number < this.#end && !Number.isNaN(this.#sentMs[number]);
    for (let first = 0; first < this.#end; first++) {
      if (!came(first)) continue;
      let last = first;
      while (came(last + 1)) last++;
      runs.push({
        first,
        last,
        firstMs: this.#sentMs[first] as number,
        lastMs: this.#sentMs[last] as number,
      });
      first = last;
    }
    return runs;
  }

  #grow(atLeast: number): void {
    const wider = new Float64Array(Math.max(atLeast, 2 * this.#sentMs.length)).fill(Number.NaN);
    wider.set(this.#sentMs);
    this.#sentMs = wider;
  }
}

/** Returns the ranges that are missing between, before and after the runs. */
export function lostRanges(runs: readonly Run[], sent: Sent): LostRange[] {
  const end: Run = { first: sent.count, last: sent.count, firstMs: sent.lastMs, lastMs: sent.lastMs };
  const lost: LostRange[] = [];
  let next = 0;
  let fromMs = sent.firstMs;
  for (const run of [...runs, end]) {
    if (run.first > next) lost.push({ first: next, last: run.first - 1, fromMs, toMs: run.firstMs });
    next = run.last + 1;
    fromMs = run.lastMs;
  }
  return lost;
}
