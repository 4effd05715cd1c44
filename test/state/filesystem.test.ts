// The store on filesystems that refuse: read-only and full. They are mounted in
// mount namespaces of the test's own, so this needs root.
import { afterAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { newStateDir, removeStateDirs } from "./support.ts";

afterAll(removeStateDirs);

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env.REQUIRE_KERNEL === "1") throw new Error("REQUIRE_KERNEL=1, but this is not root");

const store = resolve(import.meta.dir, "../../src/state/store.ts");
const probe = resolve(import.meta.dir, "../../src/state/probe.ts");
const samples = resolve(import.meta.dir, "samples.ts");

/** Runs `setup` (sh) and then `script` (TypeScript, with Store and `dir`) in a new mount namespace. */
function runMounted(dir: string, setup: string, script: string): string {
  const program = `
    const { Store } = await import("${store}");
    const dir = "${dir}";
    const remount = (option) => {
      const done = Bun.spawnSync(["mount", "-o", "remount," + option, dir]);
      if (done.exitCode !== 0) throw new Error(done.stderr.toString());
    };
    const attempt = (action) => { try { action(); return "done"; } catch (error) { return error.name + " " + error.kind + ": " + error.message; } };
    ${script}`;
  const command = `set -e; ${setup}; exec "${process.execPath}" -e "$PROGRAM"`;
  const done = Bun.spawnSync(["unshare", "-m", "sh", "-c", command], {
    env: { ...process.env, PROGRAM: program },
  });
  if (done.exitCode !== 0) throw new Error(`${done.stderr}`);
  return done.stdout.toString();
}

test.skipIf(!isRoot)("a read-only filesystem is said to be one (needs root)", () => {
  const dir = newStateDir();
  mkdirSync(dir, { recursive: true });
  const output = runMounted(
    dir,
    `mount -t tmpfs tmpfs "${dir}"`,
    `const first = Store.open(dir, "b1");
     first.putSetting("x", 1);
     first[Symbol.dispose]();
     remount("ro");
     console.log(attempt(() => Store.open(dir, "b1").putSetting("x", 2)));
     console.log(attempt(() => Store.open(dir + "/deeper", "b1")));
     const { findStateFault } = await import("${probe}");
     console.log(findStateFault(dir)?.kind, findStateFault(dir + "/deeper")?.kind);`,
  );
  const [existing, absent, probed] = output.split("\n");
  expect(existing).toStartWith("StoreError readonly: ");
  expect(absent).toStartWith("StoreError readonly: ");
  expect(probed).toBe("readonly readonly");
});

test.skipIf(!isRoot)("a full filesystem is said to be full, and works again with space (needs root)", () => {
  const dir = newStateDir();
  mkdirSync(dir, { recursive: true });
  const output = runMounted(
    dir,
    `mount -t tmpfs -o size=400k tmpfs "${dir}"`,
    `const { peer } = await import("${samples}");
     const many = Array.from({ length: 3000 }, (_, i) => peer("p" + i));
     const store = Store.open(dir, "b1");
     store.putSetting("x", 1);
     console.log(attempt(() => store.putPeers(many)));
     console.log(store.peers().length, JSON.stringify(store.settings()));
     remount("size=64m");
     console.log(attempt(() => store.putPeers(many)));
     console.log(store.peers().length);`,
  );
  const [full, kept, again, count] = output.split("\n");
  expect(full).toStartWith("StoreError full: ");
  expect([kept, again, count]).toEqual(['0 {"x":1}', "done", "3000"]);
});

test.skipIf(!isRoot)("a state is made whole or not at all, however little fits (needs root)", () => {
  const sizes = Array.from({ length: 40 }, (_, i) => `${8 + 8 * i}k`);
  const dir = newStateDir();
  mkdirSync(dir, { recursive: true });
  const output = runMounted(
    dir,
    `mount -t tmpfs -o size=64m tmpfs "${dir}"`,
    `const { rmSync, readdirSync } = await import("node:fs");
     for (const size of ${JSON.stringify(sizes)}) {
       remount("size=" + size);
       const first = attempt(() => Store.open(dir, "b1")[Symbol.dispose]());
       remount("size=64m");
       const then = attempt(() => Store.open(dir, "b1")[Symbol.dispose]());
       console.log(first.slice(0, 16) + ", " + then);
       for (const name of readdirSync(dir)) rmSync(dir + "/" + name);
     }`,
  );
  const outcomes = output.trim().split("\n");
  const [full, fits] = ["StoreError full:, done", "done, done"];
  expect([outcomes[0], outcomes.at(-1)]).toEqual([full, fits]);
  expect(outcomes.filter((outcome) => outcome !== full && outcome !== fits)).toEqual([]);
});
