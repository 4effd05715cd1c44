// How text looks: colours only where they were asked for, columns aligned by
// what is seen; and nothing that others have written acts on the terminal. No I/O.
//
//   style.red(name)     ESC secret [31m name ESC secret [0m
//   style.finish(text)  ESC [31m … ESC [0m, and every other ESC as \u001b
import { escapeLines } from "../net/printable.ts";

export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly red: (text: string) => string;
  /** The whole text as it may be printed: with this style's own colours, and control characters escaped. */
  readonly finish: (text: string) => string;
}

/** Colours for a terminal, or text left as it is. `secret`: what the text to be styled cannot know; letters and digits. */
export function makeStyle(coloured: boolean, secret = crypto.randomUUID().replaceAll("-", "")): Style {
  const own = `\x1b${secret}`;
  const paint = (code: number) => (text: string) =>
    coloured && text !== "" ? `${own}[${code}m${text}${own}[0m` : text;
  const finish = (text: string) =>
    text
      .split(own)
      .map((part) => escapeLines(part))
      .join("\x1b");
  return { bold: paint(1), dim: paint(2), green: paint(32), yellow: paint(33), red: paint(31), finish };
}

/** Text in a line of its own, or in a cell, which may not begin another one. */
export function oneLine(text: string): string {
  return text.replaceAll("\n", "\\n");
}

/** Rows in columns, two spaces apart, no space at line ends. */
export function alignColumns(rows: readonly (readonly string[])[], indent = ""): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, visibleLength(oneLine(cell)));
  const line = (row: readonly string[]) =>
    row
      .map(oneLine)
      .map((cell, i) => cell + " ".repeat((widths[i] as number) - visibleLength(cell)))
      .join("  ");
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
  return text.replace(/\x1b\w*\[[0-9]+m/g, "").length;
}
