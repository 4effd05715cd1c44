// Finds the spans of the parts of a JSON text, so that one part can be inserted or removed while every
// other byte stays: duplicate keys, numbers beyond a double, indentation, CRLF. The text must be one
// that JSON.parse accepts. Pure.

/** A span from the first character to behind the last one. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const whitespace = /[ \t\r\n]*/y;
/** A string, or a number, true, false, null. */
const scalar = /"[^"\\]*(?:\\.[^"\\]*)*"|[^\s",:{}[\]]+/y;
const bracketOrString = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g;

/** Returns the span of the whole value, without the whitespace around it. */
export function rootOf(text: string): Span {
  const start = skip(whitespace, text, 0);
  return { start, end: endOfValue(text, start) };
}

/** Returns the spans of an array's elements. */
export function elementsOf(text: string, array: Span): Span[] {
  return partsOf(text, array);
}

/** Returns the span of a key's value: the last one, as every decoder does; undefined if there is none. */
export function findMember(text: string, object: Span, key: string): Span | undefined {
  const parts = partsOf(text, object);
  for (let i = parts.length - 2; i >= 0; i -= 2)
    if (JSON.parse(slice(text, parts[i] as Span)) === key) return parts[i + 1];
  return undefined;
}

export function slice(text: string, { start, end }: Span): string {
  return text.slice(start, end);
}

/** Returns the text with `replacement` in the place of a span. */
export function splice(text: string, { start, end }: Span, replacement: string): string {
  return text.slice(0, start) + replacement + text.slice(end);
}

/** Returns the elements of an array, or the keys and values of an object by turns. */
function partsOf(text: string, { start, end }: Span): Span[] {
  const parts: Span[] = [];
  let at = skip(whitespace, text, start + 1);
  while (at < end - 1) {
    const stop = endOfValue(text, at);
    parts.push({ start: at, end: stop });
    // Skips the comma or colon, and the whitespace around it.
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
    if (found === undefined) throw new Error("elements are searched only in texts that are JSON");
    if (found === "{" || found === "[") depth++;
    else if (found === "}" || found === "]") depth--;
    if (depth === 0) return bracketOrString.lastIndex;
  }
}

/** Returns the position behind the match of a sticky pattern at `at`. */
function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  pattern.test(text);
  return pattern.lastIndex;
}
