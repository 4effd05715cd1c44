// Decides how soon a reconcile pass may follow the passes before it. Time is an argument. Pure.

/**
 * Records, pods' links and clients can trigger any number of passes, and a pass over thousands of
 * peers takes a while, so passes take at most this part of a processor in the long run.
 */
const share = 1 / 3;
/** A rest saves this much processor time for later passes. So a change after a rest waits for nothing. */
const savedMs = 250;
/** A repair does not wait longer than this, however long a pass takes. */
const longestSpacingMs = 2000;

export class Pace {
  /** The processor time that passes may still take, as of `#startMs`; negative if they have taken more. */
  #creditMs = savedMs;
  /** The start of the last pass. */
  #startMs = Number.NEGATIVE_INFINITY;

  /** `spacingMs`: the least time from the start of a pass to that of the next. */
  constructor(private readonly spacingMs: number) {}

  /** Is called after each pass; `costMs`: its processor time. */
  spend(startMs: number, costMs: number): void {
    const savedSinceMs = (startMs - this.#startMs) * share;
    this.#creditMs = Math.min(this.#creditMs + savedSinceMs, savedMs) - costMs;
    // The wait that a longer pass would cause is cut off, and so is its debt.
    this.#creditMs = Math.max(this.#creditMs, -longestSpacingMs * share);
    this.#startMs = startMs;
  }

  /** Returns the earliest start of the next pass, which may be in the past. */
  get nextMs(): number {
    return this.#startMs + Math.max(this.spacingMs, -this.#creditMs / share);
  }
}
