// Formats the output of the demo and the benchmark: colours if a terminal shows them,
// aligned columns, bars, and steps with a spinner.

const stdout = process.stdout;
export const isTerminal = stdout.isTTY === true && process.env["TERM"] !== "dumb";
// https://no-color.org: set and not empty.
const colours = isTerminal && !process.env["NO_COLOR"];
const locale = process.env["LC_ALL"] || process.env["LC_CTYPE"] || process.env["LANG"] || "";
export const unicode = /utf-?8/i.test(locale);

const paint = (code: string) => (text: string) =>
  colours && text !== "" ? `\x1b[${code}m${text}\x1b[0m` : text;
export const bold = paint("1");
export const dim = paint("2");
export const red = paint("31");
export const green = paint("32");
export const yellow = paint("33");
export const cyan = paint("36");

export const glyphs = unicode
  ? { yes: "✓", no: "✗", arrow: "→", dot: "·", full: "█", empty: "░", times: "×", atMost: "≤", rule: "─" }
  : {
      yes: "ok",
      no: "no",
      arrow: "->",
      dot: "-",
      full: "#",
      empty: ".",
      times: "x",
      atMost: "<=",
      rule: "-",
    };

const spinner = unicode ? [..."⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"] : [..."|/-\\"];
const spinnerMs = 80;

export interface Column {
  readonly width: number;
  readonly align?: "left" | "right";
}

/** One line of a table; colours do not count as width. Nothing is cut. */
export function row(columns: readonly Column[], cells: readonly string[]): string {
  const padded = columns.map(({ width, align }, i) => {
    const cell = cells[i] ?? "";
    const space = " ".repeat(Math.max(0, width - Bun.stringWidth(cell)));
    return align === "right" ? space + cell : cell + space;
  });
  return `  ${padded.join("  ")}`.trimEnd();
}

/** Columns as wide as their widest cell. */
export function fit(
  rows: readonly (readonly string[])[],
  aligns: readonly ("left" | "right")[],
): readonly Column[] {
  return aligns.map((align, i) => ({
    align,
    width: Math.max(...rows.map((cells) => Bun.stringWidth(cells[i] ?? ""))),
  }));
}

/** A bar of at most `width` characters; anything above zero shows at least one. */
export function bar(value: number, largest: number, width: number): string {
  const length = value === 0 ? 0 : Math.max(1, Math.round((value / Math.max(largest, 1)) * width));
  return glyphs.full.repeat(length) + " ".repeat(width - length);
}

export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

export function print(line = ""): void {
  stdout.write(`${line}\n`);
}

/** A heading in bold with a dim rest of the line. */
export function heading(title: string, rest: string): void {
  print();
  print(`${bold(cyan(title))}  ${bold(rest)}`);
  print();
}

let drawing: { text: string; timer: ReturnType<typeof setInterval> } | undefined;

/** Shows a spinner until `work` ends, then leaves one line with the time that it took. */
export async function step<T>(
  text: string,
  work: () => Promise<T>,
  summary?: (value: T) => string,
): Promise<T> {
  const start = performance.now();
  spin(text);
  try {
    const value = await work();
    unspin();
    const said = summary?.(value) ?? text;
    const fill = " ".repeat(Math.max(1, 66 - Bun.stringWidth(said)));
    print(`  ${green(glyphs.yes)} ${said}${fill}${dim(seconds(performance.now() - start).padStart(7))}`);
    return value;
  } catch (error) {
    unspin();
    print(`  ${red(glyphs.no)} ${text}`);
    throw error;
  }
}

/** Puts a spinner with a text on the last line; does nothing if there is no terminal. */
export function spin(text: string): void {
  unspin();
  if (!isTerminal) return;
  let frame = 0;
  const draw = () =>
    stdout.write(`\r\x1b[2K\x1b[?25l  ${cyan(spinner[frame++ % spinner.length] as string)} ${text}`);
  drawing = { text, timer: setInterval(draw, spinnerMs) };
  draw();
}

/** Takes the spinner away and brings the cursor back. */
export function unspin(): void {
  if (!drawing) return;
  clearInterval(drawing.timer);
  drawing = undefined;
  stdout.write("\r\x1b[2K\x1b[?25h");
}
