// The documents as tests read them: code blocks with their markers, headings, links.
import { readFileSync } from "node:fs";
import { Glob } from "bun";
import { repository } from "../../lab/paths.ts";

/** What a block may need that the test does not provide: `<!-- needs: a cluster -->` on the line before it. */
export const needs = [
  "a cluster",
  "curl",
  "the internet",
  "the reference plugins",
  "the whole machine",
] as const;
/** Where a block runs, `<!-- on: node-2 -->`; on node-1 if it does not say. */
export const places = ["both nodes", "node-2"] as const;

export const prompt = "$ ";

export interface Block {
  /** Of the opening fence, from 1. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
  /** The comment on the line before, without its brackets. */
  readonly marker?: string;
}

/** Paths from the repository's root. */
export function listPages(): string[] {
  const patterns = ["*.md", "docs/**/*.md", "test/*.md"];
  return patterns.flatMap((pattern) => [...new Glob(pattern).scanSync({ cwd: repository })]).sort();
}

export function readPage(path: string): string {
  return readFileSync(`${repository}/${path}`, "utf8");
}

export function readBlocks(path: string): Block[] {
  const blocks: Block[] = [];
  const lines = readPage(path).split("\n");
  for (let at = 0; at < lines.length; at++) {
    const [, language] = /^```(.*)$/.exec(lines[at] as string) ?? [];
    if (language === undefined) continue;
    const end = lines.indexOf("```", at + 1);
    if (end < 0) throw new Error(`${path}:${at + 1}: the block has no end`);
    const [, marker] = /^<!-- (.*) -->$/.exec(lines[at - 1] ?? "") ?? [];
    const code = lines.slice(at + 1, end).join("\n");
    blocks.push({ line: at + 1, language, code, ...(marker !== undefined && { marker }) });
    at = end;
  }
  return blocks;
}

/** Blocks of commands: all of `sh`, and of `console` what is behind a prompt. */
export function shellBlocks(path: string): Block[] {
  return readBlocks(path).flatMap((block) => {
    if (block.language === "sh") return [block];
    if (block.language !== "console") return [];
    const commands = block.code.split("\n").filter((line) => line.startsWith(prompt));
    return [{ ...block, code: commands.map((line) => line.slice(prompt.length)).join("\n") }];
  });
}

/** Targets of all links outside of code. */
export function readLinks(path: string): string[] {
  const text = withoutCode(readPage(path));
  return [...text.matchAll(/\]\(([^()\s]+)\)/g)].map(([, target]) => target as string);
}

/** Names by which links reach the page's headings, as GitHub makes them. */
export function readAnchors(path: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of withoutBlocks(readPage(path)).matchAll(/^#+ (.+)$/gm)) {
    const plain = (heading as string).replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const name = plain.replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-");
    let unique = name;
    for (let copy = 1; anchors.has(unique); copy++) unique = `${name}-${copy}`;
    anchors.add(unique);
  }
  return anchors;
}

function withoutBlocks(text: string): string {
  return text.replaceAll(/^```.*\n(?:.*\n)*?```$/gm, "");
}

function withoutCode(text: string): string {
  return withoutBlocks(text).replaceAll(/`[^`]*`/g, "code");
}
