// The archives of a release depend on their contents only. The man page and the completions name all commands.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bashCompletion, fishCompletion, zshCompletion } from "../../scripts/artifacts/completions.ts";
import { manPage } from "../../scripts/artifacts/man.ts";
import { Tree } from "../../scripts/artifacts/tree.ts";
import { commands } from "../../src/cli/commands.ts";
import { repository } from "../lab/paths.ts";

describe("an archive", () => {
  let work: string;
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), "wg-cni-archives-"));
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  test("has the same bytes whatever the order and the times of its files were", () => {
    const files: [string, string, number][] = [
      ["bin/one", "1", 0o755],
      ["a/two", "2", 0o644],
    ];
    const pack = (name: string, order: typeof files, seconds: number) => {
      const tree = new Tree(join(work, name));
      for (const file of order) tree.put(...file);
      for (const [path] of order) utimesSync(join(work, name, path), seconds, seconds);
      tree.packCompressed(join(work, `${name}.tar.gz`), 1_700_000_000, "wg-cni");
      return readFileSync(join(work, `${name}.tar.gz`));
    };
    const first = pack("first", files, 1_000_000_000);
    expect(pack("second", files.toReversed(), 1_100_000_000).equals(first)).toBe(true);
    const list = Bun.spawnSync(["tar", "-tvzf", join(work, "first.tar.gz")]).stdout.toString();
    expect(list).toMatch(/^-rwxr-xr-x 0\/0 +1 .* wg-cni\/bin\/one$/m);
  });
});

test("the man page has a section for each command, and no line that roff takes for a request of its own", () => {
  const page = manPage(repository, "1.2.3", new Date("2026-01-02T00:00:00Z"));
  for (const { name } of commands) expect(page).toContain(`\n.SS wg\\-cni ${name.replaceAll("-", "\\-")}`);
  const requests = new Set(page.match(/^[.'].*?(?= |$)/gm));
  expect([...requests].sort()).toEqual([".B", ".BR", ".I", ".PP", ".SH", ".SS", ".TH", ".TP"]);
});

test.each([
  ["bash", bashCompletion()],
  ["zsh", zshCompletion()],
  ["fish", fishCompletion()],
])("the completion for %s names each word and flag of the commands", (_, text) => {
  for (const { name, flags } of commands)
    for (const word of [...name.split(" "), ...flags.map((flag) => flag.name)]) expect(text).toContain(word);
});

test("the completion for bash offers the words of a command, its operands and its flags", () => {
  const script = `${bashCompletion()}
complete_words() { COMP_WORDS=(wg-cni "$@"); COMP_CWORD=$#; _wg_cni; echo "\${COMPREPLY[*]}"; }
complete_words ro; complete_words peer re; complete_words probe r; complete_words up --new; complete_words up --node ""`;
  const done = Bun.spawnSync(["bash", "-euc", script], { stdout: "pipe", stderr: "pipe" });
  expect(done.stderr.toString()).toBe("");
  expect(done.stdout.toString()).toBe("rollout\nremove release\nready\n--new-keys\n\n");
});
