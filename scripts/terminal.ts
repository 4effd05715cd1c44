// How the scripts print: colours only on a terminal, times in one form.

export const isTerminal = process.stdout.isTTY === true && !process.env["NO_COLOR"];

const colour = (code: number) => (text: string) => (isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text);
export const red = colour(31);
export const green = colour(32);
export const dim = colour(2);
export const ok = green("✓");

/** "12.3 s", right-aligned. */
export function seconds(milliseconds: number): string {
  return dim(`${(milliseconds / 1000).toFixed(1)} s`.padStart(7));
}
