// Checks the language of sources and scripts: no sentence of a comment begins with a clause that has
// no subject, and no text has a word that the glossary has replaced. Titles of tests have none either.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Words that were replaced, with the term to use instead. */
const terms: readonly (readonly [replaced: RegExp, remedy: string])[] = [
  [/\b(?:some|no|every|any)body\b|\bwhoever\b/i, "name the process, the peer or the person"],
  [/\bthe others\b/i, "say peers, or repeat the noun"],
  [/\bstrangers?\b/i, "say other programs or unknown sources"],
  [/\bin clear\b/i, "say in plaintext"],
  [/\bsh(?:ak(?:es?|en|ing)|ook) hands\b/i, "say that a handshake completes"],
  [/\bfolders?\b/i, "say directory"],
  [/\b(?:true|false|undefined|absent|empty|nothing|none|only) where\b/i, "say if"],
  [/\b(?:sight|rung|ladder|detour|remark|provoke[sd]?)s?\b/i, "use the term of docs/glossary.md"],
];

/** The files that need a replaced word, with the reason. */
const exceptions: Readonly<Record<string, string>> = {
  "scripts/words.ts": "the replaced words themselves",
  "src/state/schema.ts": "names that older stores have",
  "test/build/rules.test.ts": "titles that the check refuses",
};

const comments = /\/\*[\s\S]*?\*\/|^[ \t]*\/\/.*(?:\n[ \t]*\/\/.*)*/gm;
const markers = /^[ \t]*(?:\/\*\*?|\*\/|\*|\/\/)[ \t]?|[ \t]*\*\/$/gm;
/** The title of a test or of a block of tests, also behind a table of cases. */
const titles = /(?:^[ \t]*(?:test|describe\w*)|\]\))\(\s*["`]([^"`\n]+)/gm;
const headless = /(?:^|[.;] )(?:What|Who|Whoever|Whose|Whether|Where|Which)\b[^.]*/;

/** Returns the complaints about src, scripts and the titles in test, below `root` and sorted; the list is empty if there are none. */
export function checkWords(root: string): string[] {
  const complaints: string[] = [];
  for (const file of new Bun.Glob("{src,scripts}/**/*.ts").scanSync(root)) {
    const text = readFileSync(join(root, file), "utf8");
    for (const { 0: comment, index } of text.matchAll(comments)) {
      const [found] = comment.replaceAll(markers, "").trim().replaceAll(/\s+/g, " ").match(headless) ?? [];
      if (found !== undefined)
        complaints.push(
          `${file}:${lineOf(text, index)}: "${found.slice(0, 40)}…" has no subject: make it a sentence`,
        );
    }
    if (exceptions[file] !== undefined) continue;
    for (const { found, remedy } of findReplaced(text))
      complaints.push(`${file}:${lineOf(text, found.index)}: "${found[0]}": ${remedy}`);
  }
  for (const file of new Bun.Glob("test/**/*.test.ts").scanSync(root)) {
    if (exceptions[file] !== undefined) continue;
    const text = readFileSync(join(root, file), "utf8");
    for (const { 1: title = "", index } of text.matchAll(titles))
      for (const { found, remedy } of findReplaced(title))
        complaints.push(`${file}:${lineOf(text, index)}: "${found[0]}": ${remedy}`);
  }
  return complaints.sort();
}

function findReplaced(text: string): { found: RegExpExecArray; remedy: string }[] {
  return terms.flatMap(([replaced, remedy]) => {
    const found = replaced.exec(text);
    return found === null ? [] : [{ found, remedy }];
  });
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}
