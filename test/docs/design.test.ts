// The pages of docs: every path of this repository that they name exists, and the
// page on the architecture names each directory of src.
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { repository } from "../lab/paths.ts";

const pages = [...new Bun.Glob("docs/**/*.md").scanSync(repository), "test/README.md"].sort();
const read = (page: string) => readFileSync(`${repository}/${page}`, "utf8");

/** Paths in backquotes that begin with a directory of the repository; placeholders and patterns are none. */
function namedPaths(text: string): string[] {
  return [...text.matchAll(/`((?:src|test|scripts|conf|docs)\/[\w./-]+)`/g)].map(
    ([, path]) => path as string,
  );
}

/** Targets of links to files, without their headings. */
function linkedFiles(text: string): string[] {
  return [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
    .map(([, target]) => target as string)
    .filter((target) => !/^[a-z]+:/.test(target));
}

test("every path that a page names exists", () => {
  const missing = pages.flatMap((page) =>
    namedPaths(read(page))
      .filter((path) => !existsSync(`${repository}/${path}`))
      .map((path) => `${page}: ${path}`),
  );
  expect(missing).toEqual([]);
});

test.each(["docs/design", "test"])("every file that a page of %s links to exists", (directory) => {
  const missing = pages
    .filter((page) => page.startsWith(`${directory}/`))
    .flatMap((page) =>
      linkedFiles(read(page))
        .filter((target) => !existsSync(join(repository, dirname(page), target)))
        .map((target) => `${page}: ${target}`),
    );
  expect(missing).toEqual([]);
});

test("architecture.md has a row for each directory of src", () => {
  const rows = [...read("docs/design/architecture.md").matchAll(/^\| `(src\/[\w/]+)` \|/gm)];
  const directories = readdirSync(`${repository}/src`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(repository.length + 1));
  expect(rows.map(([, directory]) => directory as string).sort()).toEqual(directories.sort());
});
