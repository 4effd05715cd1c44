// A bounded wait for something that other processes bring about.
import { atPace } from "./pace.ts";

export interface WaitOptions {
  /** The awaited condition; the error has it, with everything that is known by then. */
  readonly what: string | (() => string);
  /** 20 s unless told: on a busy machine anything takes seconds. */
  readonly timeoutMs?: number;
  /** Between two looks; 20 ms unless told. */
  readonly everyMs?: number;
}

/**
 * Looks again and again until what it sees is truthy, and returns that. Throws
 * once the time is over, and at once what `look` throws.
 */
export async function waitUntil<T>(look: () => T | Promise<T>, options: WaitOptions): Promise<T> {
  const { what, timeoutMs = atPace(20_000), everyMs = 20 } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() >= deadline) break;
    await Bun.sleep(everyMs);
  }
  throw new Error(`Not within ${timeoutMs} ms: ${typeof what === "string" ? what : what()}`);
}
