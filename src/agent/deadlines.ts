// The agent's deadlines in one queue, so that one timer serves them all. Time is an argument.

/** Sets the deadline of that name, in milliseconds from now, in place of an earlier one; undefined removes it. */
export type SetDeadline = (name: string, inMs: number | undefined) => void;

interface Deadline {
  readonly dueMs: number;
  readonly onDue: () => void;
}

export class Deadlines {
  readonly #byName = new Map<string, Deadline>();

  /** When the earliest deadline is due; undefined if there is none. */
  get nextMs(): number | undefined {
    const times = Array.from(this.#byName.values(), ({ dueMs }) => dueMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Replaces the deadline of this name; undefined removes it. */
  set(name: string, dueMs: number | undefined, onDue: () => void): void {
    if (dueMs === undefined) this.#byName.delete(name);
    else this.#byName.set(name, { dueMs, onDue });
  }

  /** Sets the deadline unless one of this name is due earlier; returns true if it was set. */
  bringForward(name: string, dueMs: number, onDue: () => void): boolean {
    const before = this.#byName.get(name)?.dueMs ?? Number.POSITIVE_INFINITY;
    if (before <= dueMs) return false;
    this.set(name, dueMs, onDue);
    return true;
  }

  delete(name: string): void {
    this.#byName.delete(name);
  }

  /** Runs the deadlines that are due, the earliest first. One that another of them removes or postpones does not run. */
  runDue(nowMs: number): void {
    const isDue = (name: string) => (this.#byName.get(name)?.dueMs ?? Number.POSITIVE_INFINITY) <= nowMs;
    const due = [...this.#byName].filter(([name]) => isDue(name)).sort(([, a], [, b]) => a.dueMs - b.dueMs);
    for (const [name] of due) {
      if (!isDue(name)) continue;
      const deadline = this.#byName.get(name);
      this.#byName.delete(name);
      deadline?.onDue();
    }
  }
}
