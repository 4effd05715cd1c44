// The documents as tests read them: code blocks with their markers, headings, links.
import { readFileSync } from "node:fs";
import { Glob } from "bun";
import { repository } from "../../lab/paths.ts";

/**
 * A comment on the line before a block says how it is run if that is not on node-1, in its place on the page:
 *
 *     <!-- on: node-2 -->                     there, in its place on the page
 *     <!-- run by: test/cluster/a.test.ts --> by that file, see DocumentedBlocks
 *     <!-- as in: test/cli/golden/a.txt -->   by whoever makes that file, which has its output
 *     <!-- needs: the internet -->            by no test
 */
const kinds = ["on", "run by", "as in", "needs"] as const;

export interface Marker {
  readonly kind: (typeof kinds)[number];
  readonly value: string;
}

/** Needs that no test provides. */
export const needs = ["the internet", "the whole machine"] as const;
export const places = ["both nodes", "node-2"] as const;

export const prompt = "$ ";

export interface Block {
  /** Of the opening fence, from 1. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
  readonly marker?: Marker;
}

/** Of commands alone. */
export interface ShellBlock extends Block {
  /** The output that the page shows, if any. */
  readonly output?: string;
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
    const code = lines.slice(at + 1, end).join("\n");
    const marker = parseMarker(lines[at - 1] ?? "", `${path}:${at}`);
    blocks.push({ line: at + 1, language, code, ...(marker !== undefined && { marker }) });
    at = end;
  }
  return blocks;
}

/** Undefined if the line is no comment. Throws Error if it is one of another kind. */
function parseMarker(line: string, place: string): Marker | undefined {
  const [, comment] = /^<!-- (.*) -->$/.exec(line) ?? [];
  if (comment === undefined) return undefined;
  const kind = kinds.find((one) => comment.startsWith(`${one}: `));
  if (kind === undefined) throw new Error(`${place}: a block has no marker "${comment}"`);
  return { kind, value: comment.slice(`${kind}: `.length) };
}

/** Blocks of commands: all of `sh`, and of `console` what is behind a prompt. */
export function shellBlocks(path: string): ShellBlock[] {
  return readBlocks(path).flatMap((block) => {
    if (block.language === "sh") return [block];
    if (block.language !== "console") return [];
    const lines = block.code.split("\n");
    const commands = lines.filter((line) => line.startsWith(prompt));
    const output = lines.filter((line) => !line.startsWith(prompt)).join("\n");
    return [{ ...block, code: commands.map((line) => line.slice(prompt.length)).join("\n"), output }];
  });
}

/** True if a reader of the page runs the block on a node. */
export function isRunInPlace({ marker }: Block): boolean {
  return marker === undefined || marker.kind === "on";
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
