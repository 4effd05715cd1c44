// Words and numbers as people read them: ages, spans, sizes, counts, lists. No I/O.

/** "just now", "12 s ago", "3 min ago", "5 h ago", "2 d ago"; "never" for 0. */
export function formatAge(whenMs: number, nowMs: number): string {
  if (whenMs === 0) return "never";
  return nowMs - whenMs < 1500 ? "just now" : `${formatSpan(nowMs - whenMs)} ago`;
}

/** "12 s", "3 min", "5 h", "2 d". */
export function formatSpan(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** "512 B", "1.4 KiB", "23 MiB". */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** "1 peer", "3 peers". */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** "a", "a or b", "a, b or c". */
export function anyOf(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** The sentence without its end, so that more can be added to it. */
export function withoutFullStop(sentence: string): string {
  return sentence.replace(/[.\s]*$/, "");
}

/** Order by code units, the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
