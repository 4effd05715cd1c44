// docs/reference/host-changes.md has a row for every sysctl that the code writes.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Glob } from "bun";

const root = `${import.meta.dir}/../..`;
const page = readFileSync(`${root}/docs/reference/host-changes.md`, "utf8");

/** Rows of their own they are not. */
const looksAt: readonly string[] = [
  // A directory.
  "net.ipv6.conf",
  // Changed by the kernel along with the host's, and put back with it.
  "net.ipv4.conf.INTERFACE.forwarding",
  "net.ipv4.conf.all.accept_redirects",
  "net.ipv6.conf.INTERFACE.forwarding",
  "net.netfilter.nf_conntrack_max",
];

/** Paths of sysctls in the sources, with one word for whatever is put into them. */
function sysctlsInCode(): string[] {
  const found = new Set<string>();
  for (const file of new Glob("src/**/*.ts").scanSync({ cwd: root }))
    for (const [, path] of readFileSync(`${root}/${file}`, "utf8").matchAll(
      /["`](net\/[^"`]+?\/[^"`]+)["`]/g,
    ))
      if (!(path as string).endsWith("/")) found.add(normalise(path as string));
  return [...found].sort();
}

function normalise(path: string): string {
  return path.replaceAll(/\$\{[^}]+\}/g, "*").replaceAll("/", ".");
}

/** In the page's words: any word stands for what the code puts in. */
function isRow(path: string): boolean {
  const pattern = path.replaceAll(".", "\\.").replaceAll("*", "[A-Za-z0-9]+");
  return new RegExp(`^\\|[^|]*\`${pattern}\``, "m").test(page);
}

test("every sysctl in the sources is a row of the page, or only read", () => {
  const paths = sysctlsInCode();
  expect(paths).toContain("net.ipv4.conf.*.src_valid_mark");
  expect(paths.filter((path) => !isRow(path) && !looksAt.some((read) => matches(path, read)))).toEqual([]);
});

test("control: a path that has no row is found", () => {
  expect(isRow("net.ipv4.conf.*.arp_ignore")).toBe(false);
});

function matches(path: string, named: string): boolean {
  return new RegExp(`^${path.replaceAll(".", "\\.").replaceAll("*", "[A-Za-z0-9]+")}$`).test(named);
}
