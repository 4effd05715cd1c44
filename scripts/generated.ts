// Finds outdated generated files, and writes them.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");

/** By path from the root. */
type Contents = ReadonlyMap<string, string>;

/** Returns the paths of outdated files. */
export function findOutdated(contents: Contents): string[] {
  return [...contents].flatMap(([path, content]) => (read(path) === content ? [] : [path]));
}

/** Writes the outdated files, and prints the path of each. */
export function writeOutdated(contents: Contents): void {
  for (const path of findOutdated(contents)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), contents.get(path) as string);
    console.log(`wrote ${path}`);
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return undefined;
  }
}
