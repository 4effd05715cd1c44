// Formats text: with colours only on request, and with columns aligned by visible characters. Text
// from other nodes cannot control the terminal. No I/O.
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
  /** Returns the whole text as it may be printed: with this style's own colours, and control characters escaped. */
  readonly finish: (text: string) => string;
}

/** Makes a style with colours, or one that leaves text as it is. `secret`: letters and digits that the styled text cannot know. */
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

/** Returns text for one line or one cell: it cannot begin another line. */
export function oneLine(text: string): string {
  return text.replaceAll("\n", "\\n");
}

/** Aligns rows in columns, two spaces apart, without spaces at line ends. */
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

/** Breaks prose into lines of at most `columns`, at spaces, but not within `a command`. */
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
