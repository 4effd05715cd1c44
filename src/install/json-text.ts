// Where the parts of a JSON text lie, so that one can be put in or taken out
// while every other byte stays: keys that are there twice, numbers beyond a
// double, indentation, CRLF. Only for texts that JSON.parse has taken. Pure.

/** From the first character to behind the last one. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const whitespace = /[ \t\r\n]*/y;
/** A string, or a number, true, false, null. */
const scalar = /"[^"\\]*(?:\\.[^"\\]*)*"|[^\s",:{}[\]]+/y;
const bracketOrString = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g;

/** The whole value of the text, without the whitespace around it. */
export function rootOf(text: string): Span {
  const start = skip(whitespace, text, 0);
  return { start, end: endOfValue(text, start) };
}

/** The elements of an array. */
export function elementsOf(text: string, array: Span): Span[] {
  return partsOf(text, array);
}

/** The value of an object's key: the last one, as every decoder has it; undefined where there is none. */
export function findMember(text: string, object: Span, key: string): Span | undefined {
  const parts = partsOf(text, object);
  for (let i = parts.length - 2; i >= 0; i -= 2)
    if (JSON.parse(slice(text, parts[i] as Span)) === key) return parts[i + 1];
  return undefined;
}

export function slice(text: string, { start, end }: Span): string {
  return text.slice(start, end);
}

/** The text with another one in the place of a span. */
export function splice(text: string, { start, end }: Span, replacement: string): string {
  return text.slice(0, start) + replacement + text.slice(end);
}

/** Elements of an array; of an object keys and values by turns. */
function partsOf(text: string, { start, end }: Span): Span[] {
  const parts: Span[] = [];
  let at = skip(whitespace, text, start + 1);
  while (at < end - 1) {
    const stop = endOfValue(text, at);
    parts.push({ start: at, end: stop });
    // The comma or colon, and what is around it.
    const separator = skip(whitespace, text, stop);
    at = separator < end - 1 ? skip(whitespace, text, separator + 1) : separator;
  }
  return parts;
}

function endOfValue(text: string, start: number): number {
  if (text[start] !== "{" && text[start] !== "[") return skip(scalar, text, start);
  let depth = 0;
  bracketOrString.lastIndex = start;
  for (;;) {
    const found = bracketOrString.exec(text)?.[0];
    if (found === undefined) throw new Error("elements are looked for only in texts that are JSON");
    if (found === "{" || found === "[") depth++;
    else if (found === "}" || found === "]") depth--;
    if (depth === 0) return bracketOrString.lastIndex;
  }
}

/** Behind what a sticky pattern matches at `at`. */
function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  pattern.test(text);
  return pattern.lastIndex;
}
