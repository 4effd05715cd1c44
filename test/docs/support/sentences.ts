// Reads from a source file the sentences that it can say: its strings and templates of several words.
import { readFileSync } from "node:fs";

export interface Sentence {
  /** As it is in the source; … is a value. */
  readonly text: string;
  /** Matches what is said with any values. */
  readonly pattern: RegExp;
}

/** A string of fewer words is a name, a key or a part of a sentence. */
const leastWords = 3;
/** In a comment or a regular expression, a quote begins no string. */
const skipped =
  /^(?:\/\/.*|\/\*[\s\S]*?\*\/|\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/[a-z]*(?=[.,;)\s]))/;
const plainString = /^(?:"((?:\\.|[^"\\\n])*)"|'((?:\\.|[^'\\\n])*)')/;

/** `except`: properties whose strings are not said by themselves. */
export function readSentences(path: string, except: readonly string[] = []): Sentence[] {
  const source = readFileSync(path, "utf8");
  const sentences: Sentence[] = [];
  /** Reads code from `at` on, to the end or the brace that closes a value of a template. Returns where it ended. */
  const readCode = (at: number): number => {
    let depth = 0;
    for (let i = at; i < source.length; ) {
      const rest = source.slice(i);
      const [, quoted, single] = plainString.exec(rest) ?? [];
      const text = quoted ?? single;
      if (text !== undefined) {
        add(i, [text.replace(/\\(.)/g, "$1")]);
        i += (plainString.exec(rest) as RegExpExecArray)[0].length;
      } else if (rest[0] === "`") i = readTemplate(i);
      else if (skipped.test(rest)) i += (skipped.exec(rest) as RegExpExecArray)[0].length;
      else {
        if (rest[0] === "{") depth++;
        if (rest[0] === "}" && depth-- === 0) return i + 1;
        i++;
      }
    }
    return source.length;
  };
  const readTemplate = (start: number): number => {
    const parts = [""];
    let i = start + 1;
    while (source[i] !== "`") {
      if (source.startsWith("${", i)) {
        i = readCode(i + 2);
        parts.push("");
        continue;
      }
      if (source[i] === "\\") i++;
      parts.push(`${parts.pop()}${source[i++]}`);
    }
    add(start, parts);
    return i + 1;
  };
  const add = (start: number, parts: readonly string[]) => {
    const [, property = ""] = /(\w+):\s*$/.exec(source.slice(0, start)) ?? [];
    const words = parts.join(" ").trim().split(/\s+/);
    if (words.length < leastWords || except.includes(property)) return;
    sentences.push({
      text: parts.join("…"),
      pattern: new RegExp(parts.map(RegExp.escape).join("[\\s\\S]*")),
    });
  };
  readCode(0);
  return sentences;
}
