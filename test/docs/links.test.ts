// Every relative link in the documents leads to a file or directory of the repository, and to a heading.
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { repository } from "../lab/paths.ts";
import { listPages, readAnchors, readLinks } from "./support/pages.ts";

/** Undefined if the link of `page` leads somewhere. */
function findFault(page: string, target: string): string | undefined {
  if (/^[a-z]+:/.test(target)) return undefined;
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? page : normalize(join(dirname(page), path));
  if (!existsSync(join(repository, file))) return `${page}: ${target}: there is no ${file}`;
  if (anchor !== undefined && !readAnchors(file).has(anchor))
    return `${page}: ${target}: ${file} has no such heading`;
  return undefined;
}

test("every link in the documents leads to a file and a heading that exist", () => {
  const links = listPages().flatMap((page) => readLinks(page).map((target) => ({ page, target })));
  expect(links.length).toBeGreaterThan(50);
  const faults = links.map(({ page, target }) => findFault(page, target));
  expect(faults.filter((fault) => fault !== undefined)).toEqual([]);
});

test("control: a link to no file or to no heading is found", () => {
  expect(findFault("README.md", "docs/none.md")).toBe("README.md: docs/none.md: there is no docs/none.md");
  expect(findFault("docs/concepts.md", "glossary.md#none")).toContain("has no such heading");
  expect(findFault("docs/concepts.md", "#none")).toContain("has no such heading");
  expect(findFault("docs/concepts.md", "#the-gate")).toBeUndefined();
});
