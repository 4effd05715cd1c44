// Bounds how often one kind of log line is written. Records, pods and clients can cause the same line
// as often as they like; each kind has a budget, so that none fills the disk or hides another kind. Pure:
// time is an argument.

/** A starting cluster causes many lines at once. */
const burst = 100;
/** Afterwards, one line is allowed in this time. */
const lineMs = 1000;
/** Lines with an equal beginning are of one kind, because the rest may come from other nodes. */
const kindCharacters = 24;
const maxKinds = 500;

interface Kind {
  lines: number;
  atMs: number;
  leftOut: number;
}

export class LineBudget {
  readonly #kinds = new Map<string, Kind>();

  /** Returns undefined if the line must be left out, else the number of lines of its kind left out since the last one. */
  take(message: string, nowMs: number): { readonly leftOut: number } | undefined {
    const key = message.slice(0, kindCharacters);
    const kind = this.#kinds.get(key) ?? this.#begin(key, nowMs);
    kind.lines = Math.min(burst, kind.lines + (nowMs - kind.atMs) / lineMs);
    kind.atMs = nowMs;
    if (kind.lines < 1) {
      kind.leftOut++;
      return undefined;
    }
    kind.lines--;
    const { leftOut } = kind;
    kind.leftOut = 0;
    return { leftOut };
  }

  #begin(key: string, nowMs: number): Kind {
    const kind = { lines: burst, atMs: nowMs, leftOut: 0 };
    const [oldest] = this.#kinds.size >= maxKinds ? this.#kinds.keys() : [];
    if (oldest !== undefined) this.#kinds.delete(oldest);
    this.#kinds.set(key, kind);
    return kind;
  }
}
