// How `doctor` looks: the summary first, what is wrong before what is right,
// colours only on a terminal, and the same as JSON. Its findings are tested by test/doctor
// and test/kernel/commands/doctor.test.ts.
import { describe, expect, test } from "bun:test";
import { existsSync, rmSync, truncateSync } from "node:fs";
import { wrapText } from "../../src/cli/style.ts";
import { tryLock } from "../../src/linux/lock.ts";
import { Store } from "../../src/state/store.ts";
import { identity } from "../doctor/facts.ts";
import { expectGolden } from "./golden.ts";
import { run, StateDirectory } from "./terminal.ts";

/** Without what differs from machine to machine. */
function stable(text: string, directory: StateDirectory): string {
  return text.replaceAll(directory.path, "/var/lib/wg-cni").replace(/\d+(\.\d)? [KMGT]iB left/, "9 GiB left");
}

describe("doctor", () => {
  test("of a node that was never up: texts", async () => {
    using directory = new StateDirectory();
    const absent = await run(["doctor", ...directory.flag]);
    expect(absent).toMatchObject({ exitCode: 3, stderr: "" });
    expectGolden("doctor-no-store", stable(absent.stdout, directory));
    expect(existsSync(`${directory.path}/state.db`)).toBe(false);
    Store.open(directory.path, "boot")[Symbol.dispose]();
    expectGolden("doctor-never-up", stable((await run(["doctor", ...directory.flag])).stdout, directory));
  });

  test("colours on a terminal, none elsewhere; JSON says the same", async () => {
    using directory = new StateDirectory();
    const [plain, coloured, json] = [
      await run(["doctor", ...directory.flag]),
      await run(["doctor", ...directory.flag], "", true),
      await run(["doctor", "--json", ...directory.flag]),
    ];
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of colours
    const escapes = /\x1b\[\d+m/g;
    expect(plain.stdout).not.toMatch(escapes);
    expect(coloured.stdout).toMatch(escapes);
    expect(stable(coloured.stdout.replace(escapes, ""), directory)).toBe(stable(plain.stdout, directory));
    const report = JSON.parse(json.stdout);
    expect(report).toMatchObject({ healthy: false });
    expect(report.findings[0]).toEqual({
      ...{ check: "store", level: "fail", summary: `there is no state.db in ${directory.path}`, details: [] },
      ...{ remedy: "run `wg-cni up`, or give --state-dir", impact: expect.any(String) },
    });
    expect(json.exitCode).toBe(3);
  });
});

describe("doctor --repair", () => {
  const repair = (directory: StateDirectory) => run(["doctor", "--repair", "--json", ...directory.flag]);

  test("rebuilds a store that cannot be read, and says what was lost; a second one finds nothing", async () => {
    using directory = new StateDirectory();
    Store.open(directory.path, "boot")[Symbol.dispose]();
    truncateSync(`${directory.path}/state.db`, 5000);
    const first = JSON.parse((await repair(directory)).stdout).repair;
    expect(first.rebuilt).toMatchObject({ aside: `${directory.path}/state.db.damaged`, kept: {} });
    expect(first.rebuilt.lost.length).toBeGreaterThan(0);
    expect(JSON.parse((await repair(directory)).stdout).repair).toEqual({ identityRestored: false });
  });

  test.each([
    ["whole", true],
    ["damaged", false],
  ])("says what is lost if there is no database, and the identity's copy is %s", async (copy, isRestored) => {
    using directory = new StateDirectory();
    {
      using store = Store.open(directory.path, "boot");
      store.putIdentity(identity);
    }
    for (const name of ["state.db", "state.db-wal", "state.db-shm"])
      rmSync(`${directory.path}/${name}`, { force: true });
    if (copy === "damaged") truncateSync(`${directory.path}/identity.json`, 20);
    const { stdout } = await run(["doctor", "--repair", ...directory.flag]);
    expect(stdout).toMatch(/^There was no state\.db/);
    const [, lost = ""] = /lost: (.*)/.exec(stdout) ?? [];
    expect([lost.includes("peers"), lost.includes("identity")]).toEqual([true, !isRestored]);
    using store = Store.open(directory.path, "boot");
    expect(store.identity()?.name).toBe(isRestored ? identity.name : undefined);
  });

  test("is refused without a store, and beside an agent", async () => {
    using directory = new StateDirectory();
    expect((await repair(directory)).exitCode).toBe(2);
    Store.open(directory.path, "boot")[Symbol.dispose]();
    using _agent = tryLock(`${directory.path}/agent.lock`) as Disposable;
    expect((await repair(directory)).exitCode).toBe(2);
  });
});

test("prose is broken at spaces, commands are not", () => {
  expect(wrapText("one two three four", 9)).toEqual(["one two", "three", "four"]);
  expect(wrapText("run `wg-cni up --endpoint IP`, then look", 12)).toEqual([
    "run",
    "`wg-cni up --endpoint IP`,",
    "then look",
  ]);
  expect(wrapText("", 10)).toEqual([]);
});
