// Makes text safe to show. Names, file names and messages of servers and of other programs come from
// outside, and reach logs, terminals and the API: they must not end a line, move a cursor, or turn the
// reading order. All text that leaves the program passes through here once.

/**
 * Control characters (C0, DEL, C1), format characters (bidirectional overrides and isolates, zero
 * width), line and paragraph separators, halves of surrogate pairs, and code points that mean nothing.
 */
const unsafe = /[\p{C}\p{Zl}\p{Zp}]/gu;
const unsafeInLines = /(?![\n\t])[\p{C}\p{Zl}\p{Zp}]/gu;

const short: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The text on one line, with `\u001b` for an escape character, as JSON writes it; JSON text stays the same value. */
export function escapeControls(text: string): string {
  return text.replace(unsafe, escapeCharacter);
}

/** The same for text of several lines, whose ends stay, and tabs. `backslash`: as what the text is part of writes one. */
export function escapeLines(text: string, backslash = "\\"): string {
  return text.replace(unsafeInLines, (found) => escapeCharacter(found).replaceAll("\\", backslash));
}

/** Returns the text on one line, escaped, and cut if it has more than `maxCharacters`. */
export function printable(text: string, maxCharacters: number): string {
  if (text.length <= maxCharacters) return escapeControls(text);
  const more = text.length - maxCharacters;
  return `${escapeControls(text.slice(0, maxCharacters))}… (and ${more} more characters)`;
}

function escapeCharacter(character: string): string {
  return short[character] ?? Array.from({ length: character.length }, (_, i) => unit(character, i)).join("");
}

function unit(text: string, at: number): string {
  return `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`;
}
