// Bounds how often something is done: once at once, and again only after a time. Pure: time is an argument.

export class Spacing {
  #takenAtMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly spacingMs: number) {}

  /** Returns 0 if it may be done now, and counts as done; otherwise the time until it may be done. */
  take(nowMs: number): number {
    const waitMs = this.#takenAtMs + this.spacingMs - nowMs;
    if (waitMs > 0) return waitMs;
    this.#takenAtMs = nowMs;
    return 0;
  }
}
