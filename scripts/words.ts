// Checks the language of sources and scripts: no sentence of a comment begins with a clause that has
// no subject, and no text has a word that the glossary has replaced.
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
};

const comments = /\/\*[\s\S]*?\*\/|^[ \t]*\/\/.*(?:\n[ \t]*\/\/.*)*/gm;
const markers = /^[ \t]*(?:\/\*\*?|\*\/|\*|\/\/)[ \t]?|[ \t]*\*\/$/gm;
const headless = /(?:^|[.;] )(?:What|Who|Whoever|Whose|Whether|Where|Which)\b[^.]*/;

/** Returns the complaints about the files under `root`/src and `root`/scripts, sorted; the list is empty if there are none. */
export function checkWords(root: string): string[] {
  const complaints: string[] = [];
  for (const file of new Bun.Glob("{src,scripts}/**/*.ts").scanSync(root)) {
    const text = readFileSync(join(root, file), "utf8");
    const lineOf = (index: number) => text.slice(0, index).split("\n").length;
    for (const { 0: comment, index } of text.matchAll(comments)) {
      const [found] = comment.replaceAll(markers, "").trim().replaceAll(/\s+/g, " ").match(headless) ?? [];
      if (found !== undefined)
        complaints.push(
          `${file}:${lineOf(index)}: "${found.slice(0, 40)}…" has no subject: make it a sentence`,
        );
    }
    if (exceptions[file] !== undefined) continue;
    for (const [replaced, remedy] of terms) {
      const found = replaced.exec(text);
      if (found !== null) complaints.push(`${file}:${lineOf(found.index)}: "${found[0]}": ${remedy}`);
    }
  }
  return complaints.sort();
}
