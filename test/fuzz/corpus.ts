// The inputs in the repository that a search begins with: test/fuzz/corpus/TARGET, one file an input. A file that ends
// in .hex has bytes as hex digits, with white space and "#" comments; all others are the input itself.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Target } from "./target.ts";

export interface Seed {
  readonly file: string;
  readonly input: Uint8Array;
}

export function readCorpus({ name }: Target): Seed[] {
  const directory = join(import.meta.dir, "corpus", name);
  return readdirSync(directory)
    .sort()
    .map((file) => ({ file, input: readInput(join(directory, file)) }));
}

/** Reads an input from a file as the corpus has them. */
export function readInput(path: string): Uint8Array {
  const bytes = readFileSync(path);
  if (!path.endsWith(".hex")) return new Uint8Array(bytes);
  return Uint8Array.fromHex(bytes.toString().replace(/#.*$/gm, "").replace(/\s+/g, ""));
}
