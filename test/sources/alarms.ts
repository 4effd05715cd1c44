// The deadlines of a source that runs without an agent: one timer for each name.
import type { SetDeadline } from "../../src/agent/deadlines.ts";

export class Alarms implements Disposable {
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(private readonly onDue: () => void) {}

  readonly set: SetDeadline = (name, inMs) => {
    clearTimeout(this.#timers.get(name));
    if (inMs !== undefined) this.#timers.set(name, setTimeout(this.onDue, inMs));
  };

  [Symbol.dispose](): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }
}
