// Formats the outcomes of the checks and of the test runner: a tick, and times in one form.
import { dim, glyphs, green } from "./stage/screen.ts";

export const ok = green(glyphs.yes);

/** Formats a time as "12.3 s", right-aligned. */
export function seconds(milliseconds: number): string {
  return dim(`${(milliseconds / 1000).toFixed(1)} s`.padStart(7));
}
