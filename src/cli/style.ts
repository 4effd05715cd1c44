// How text looks: colours only where they were asked for, columns aligned by
// what is seen. No I/O.

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

/** Prose in lines of at most `columns`, broken at spaces, but not within `a command`. */
export function wrapText(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.match(/(?:`[^`]*`|\S)+/g) ?? []) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
}

function visibleLength(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of makeStyle
  return text.replace(/\x1b\[[0-9]+m/g, "").length;
}
