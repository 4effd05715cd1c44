// How text looks: colours only where they were asked for, columns aligned by
// what is seen, numbers for people. No I/O.

export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly red: (text: string) => string;
}

/** Colours for a terminal, or text left as it is. */
export function makeStyle(coloured: boolean): Style {
  const paint = (code: number) => (text: string) =>
    coloured && text !== "" ? `\x1b[${code}m${text}\x1b[0m` : text;
  return { bold: paint(1), dim: paint(2), green: paint(32), yellow: paint(33), red: paint(31) };
}

/** Rows in columns, two spaces apart, no space at line ends. */
export function alignColumns(rows: readonly (readonly string[])[], indent = ""): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, visibleLength(cell));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => cell + " ".repeat((widths[i] as number) - visibleLength(cell))).join("  ");
  return rows.map((row) => `${indent}${line(row)}`.trimEnd()).join("\n");
}

function visibleLength(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of makeStyle
  return text.replace(/\x1b\[[0-9]+m/g, "").length;
}

/** "just now", "12 s ago", "3 min ago", "5 h ago", "2 d ago"; "never" for 0. */
export function formatAge(whenMs: number, nowMs: number): string {
  if (whenMs === 0) return "never";
  const seconds = Math.max(0, Math.round((nowMs - whenMs) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
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
