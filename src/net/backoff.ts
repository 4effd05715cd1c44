// The pauses between attempts that fail one after the other. They double up to a bound. If they are drawn
// at random, thousands of agents do not come back at once. Pure: time and randomness are arguments.

export interface BackoffBounds {
  /** The pause after the first failure. */
  readonly firstMs: number;
  readonly longestMs: number;
}

/** More doublings than this make every pause the longest, and would exceed what a number can hold. */
const maxDoublings = 30;

/** Returns the whole pause after so many failures in a row; 0 if there was none. */
export function pauseAfter(failures: number, { firstMs, longestMs }: BackoffBounds): number {
  if (failures === 0) return 0;
  return Math.min(firstMs * 2 ** Math.min(failures - 1, maxDoublings), longestMs);
}

export interface FailureOptions {
  /** The server asked for at least this pause. */
  readonly retryAfterMs?: number | undefined;
  /** Replaces the longest pause of the bounds. */
  readonly longestMs?: number | undefined;
}

/** Counts failures and says when the next attempt is due. Only `reset` says that the attempts succeed again. */
export class Backoff {
  #failures = 0;
  #dueMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly bounds: BackoffBounds,
    /** Returns a number from 0 to 1. */
    private readonly random: () => number,
  ) {}

  /** The number of failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Counts a failure, and returns the pause until the next attempt: the upper half of the whole pause is drawn at random. */
  fail(nowMs: number, { retryAfterMs = 0, longestMs = this.bounds.longestMs }: FailureOptions = {}): number {
    const { firstMs } = this.bounds;
    const whole = pauseAfter(++this.#failures, { firstMs, longestMs });
    const random = this.random();
    const drawn = (whole / 2) * (1 + random);
    // The server asks all clients for the same pause, so it is made longer at random, too.
    const pauseMs = retryAfterMs > 0 ? Math.max(retryAfterMs + firstMs * random, drawn) : drawn;
    this.#dueMs = nowMs + pauseMs;
    return pauseMs;
  }

  /** Returns the time until the next attempt is due; 0 if it is. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#dueMs - nowMs);
  }

  /** Forgets failures above `most`, because a failed attempt has shown that the next one may succeed soon. */
  limit(most: number): void {
    this.#failures = Math.min(this.#failures, most);
  }

  /** Forgets all failures: an attempt has succeeded. */
  reset(): void {
    this.#failures = 0;
    this.#dueMs = Number.NEGATIVE_INFINITY;
  }
}
