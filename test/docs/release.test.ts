// All that names the version names the one of package.json, and the README stays short.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Glob } from "bun";
import { repository } from "../lab/paths.ts";
import { listPages, readPage } from "./support/pages.ts";

const { version } = JSON.parse(readPage("package.json")) as { version: string };
const longestReadme = 150;

/** `wg-cni:0.1.0`, `appVersion: 0.1.0` and their like in one file. */
function namedVersions(path: string): string[] {
  const text = readFileSync(`${repository}/${path}`, "utf8");
  const patterns = [/\bwg-cni:(\d[\w.-]*)/g, /^(?:appVersion|version): (\S+)/gm, /image\.version="([^"]+)"/g];
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, one]) => one as string));
}

test("each version in the manifests and documents is that of package.json", () => {
  const conf = [...new Glob("conf/**/*").scanSync({ cwd: repository })];
  const named = [...conf, ...listPages()].map((path) => ({ path, versions: namedVersions(path) }));
  const naming = named.filter(({ versions }) => versions.length > 0);
  for (const path of ["conf/Containerfile", "conf/chart/Chart.yaml", "conf/chart/values.yaml", "README.md"])
    expect(naming.map((one) => one.path)).toContain(path);
  expect(naming.filter(({ versions }) => versions.some((one) => one !== version))).toEqual([]);
});

test("the README has at most 150 lines and begins with the two commands", () => {
  const lines = readPage("README.md").trimEnd().split("\n");
  expect(lines.length).toBeLessThanOrEqual(longestReadme);
  const commands = lines.filter((line) => line.startsWith("./scripts/")).map((line) => line.split(" ")[0]);
  expect(commands).toEqual(["./scripts/demo", "./scripts/test"]);
});
