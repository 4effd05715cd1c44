// The executable as a shell runs it: exit codes, what goes to which stream, and
// colours on a terminal only.
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { binary } from "../lab/paths.ts";
import { StateDirectory } from "./terminal.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
const escapes = /\x1b\[/;
const missing = existsSync(binary) ? undefined : `${binary} is not built`;
if (missing && process.env["CI"]) throw new Error(missing);

function shell(script: string, env: Record<string, string> = {}) {
  const done = Bun.spawnSync(["sh", "-c", script], {
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", WG_CNI: binary, TERM: "xterm", ...env },
    stdin: "ignore",
  });
  return { exitCode: done.exitCode, stdout: done.stdout.toString(), stderr: done.stderr.toString() };
}

describe.skipIf(missing !== undefined)("the executable", () => {
  test("exit codes and streams", () => {
    using directory = new StateDirectory();
    const at = (words: string) => shell(`"$WG_CNI" ${words} --state-dir ${directory.path}`);
    expect(shell(`"$WG_CNI"`)).toMatchObject({
      exitCode: 0,
      stderr: "",
      stdout: expect.stringContaining("Usage"),
    });
    expect(at("version")).toMatchObject({
      exitCode: 0,
      stderr: "",
      stdout: expect.stringMatching(/^wg-cni \d/),
    });
    expect(at("sync")).toMatchObject({
      exitCode: 1,
      stdout: "",
      stderr: expect.stringContaining("no identity yet"),
    });
    expect(at("sync --json")).toMatchObject({
      exitCode: 1,
      stderr: "",
      stdout: expect.stringMatching(/^\{"error":/),
    });
    expect(at("snyc")).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining('"sync"') });
    expect(at("status")).toMatchObject({
      exitCode: 3,
      stderr: "",
      stdout: expect.stringContaining("never up"),
    });
  });

  test("a state directory that cannot be is an error with a sentence", () => {
    using directory = new StateDirectory();
    writeFileSync(`${directory.path}/file`, "");
    const done = shell(`"$WG_CNI" status --state-dir ${directory.path}/file/below`);
    expect(done).toMatchObject({ exitCode: 1, stdout: "" });
    expect(done.stderr).toMatch(/^wg-cni: .+\n$/);
    mkdirSync(`${directory.path}/bad`);
    writeFileSync(
      `${directory.path}/bad/state.db`,
      "not a database at all, but long enough to look like one",
    );
    const bad = shell(`"$WG_CNI" status --state-dir ${directory.path}/bad`);
    expect(bad).toMatchObject({ exitCode: 1, stdout: "" });
    expect(bad.stderr).toMatch(/state\.db/);
    expect(bad.stderr).not.toContain("    at ");
  });

  test("a reader that goes away early is no crash", () => {
    const done = shell(`"$WG_CNI" up --help | head -n 1; "$WG_CNI" up --help >/dev/full; echo $?`);
    expect(done.stdout).toMatch(/^Give this node an identity.*\n[1-9]\d*\n$/);
    expect(done.stderr).not.toContain("    at ");
  });

  test("colours on a terminal, none in a pipe, none with NO_COLOR or a dumb terminal", () => {
    const onTerminal = (env: Record<string, string>) =>
      shell(`script -qec '"$WG_CNI" --help' /dev/null`, env);
    expect(onTerminal({}).stdout).toMatch(escapes);
    expect(onTerminal({ NO_COLOR: "1" }).stdout).not.toMatch(escapes);
    expect(onTerminal({ TERM: "dumb" }).stdout).not.toMatch(escapes);
    expect(shell(`"$WG_CNI" --help`).stdout).not.toMatch(escapes);
    expect(shell(`"$WG_CNI" --help`).stdout).toBe(onTerminal({ NO_COLOR: "1" }).stdout.replaceAll("\r", ""));
  });
});
