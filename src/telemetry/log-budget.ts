// How often one thing is said. Records, pods and clients can bring about the same line as often as
// they like; each kind of line has a budget, so that none fills the disk or hides the others. Pure:
// time is an argument.

/** A cluster that comes up says much at once. */
const burst = 100;
/** Afterwards. */
const lineMs = 1000;
/** Lines that begin alike are of one kind: what follows may be somebody else's text. */
const kindCharacters = 24;
const maxKinds = 500;

interface Kind {
  lines: number;
  atMs: number;
  leftOut: number;
}

export class LineBudget {
  readonly #kinds = new Map<string, Kind>();

  /** Undefined if the line is left out; else how many of its kind were since the last one. */
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
