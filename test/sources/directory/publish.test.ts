// This node's own record: written whole, only when it differs, for everybody to
// read; and hearing of what others write.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { resolve } from "node:path";
import type { NodeRecord } from "../../../src/net/record.ts";
import { publishRecord } from "../../../src/sources/directory/files.ts";
import { waitUntil } from "../../lab/wait.ts";
import { Folder, own, recordOf } from "./directory.ts";

setDefaultTimeout(60_000);

const changed: NodeRecord = { ...own, podCIDRs: ["10.200.0.0/24"] };

describe("publishing", () => {
  test("what is written is the record, readable to all; the same again writes nothing", () => {
    using folder = new Folder();
    const umask = process.umask(0o077);
    try {
      folder.look();
      expect(folder.publish()).toEqual({ done: true });
    } finally {
      process.umask(umask);
    }
    const file = folder.file("node-0.json");
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(own);
    const { ino, mode } = statSync(file);
    expect(mode & 0o777).toBe(0o644);
    expect(readdirSync(folder.path)).toEqual(["node-0.json"]);
    folder.look();
    expect(folder.publish()).toEqual({ done: true });
    // A new agent looks into the file, and finds nothing to do either.
    folder.look("");
    folder.look();
    expect(folder.publish()).toEqual({ done: true });
    expect(statSync(file).ino).toBe(ino);
    expect(folder.publish(changed)).toEqual({ done: true });
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(changed);
    expect(folder.peers).toEqual({});
  });

  test("a reader that never stops sees whole records only", async () => {
    using folder = new Folder();
    const file = folder.file("node-0.json");
    const long = { ...own, podCIDRs: Array.from({ length: 4000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`) };
    publishRecord(folder.path, own);
    const program = `
      const { readFileSync } = require("node:fs");
      let reads = 0;
      const seen = new Set();
      process.stdin.once("data", () => { console.log(JSON.stringify({ reads, seen: [...seen] })); process.exit(0); });
      console.log("reading");
      setInterval(() => {
        for (let i = 0; i < 20; i++, reads++) seen.add(JSON.parse(readFileSync(process.argv[1], "utf8")).podCIDRs.length);
      }, 0);`;
    const reader = Bun.spawn([process.execPath, "-e", program, file], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    try {
      const lines = reader.stdout.getReader();
      const line = async () => new TextDecoder().decode((await lines.read()).value).trim();
      expect(await line()).toBe("reading");
      for (let i = 0; i < 150; i++) {
        expect(publishRecord(folder.path, i % 2 === 0 ? long : own)).toBe(true);
        await Bun.sleep(1);
      }
      reader.stdin.write("enough\n");
      reader.stdin.flush();
      const { reads, seen } = JSON.parse(await line()) as { reads: number; seen: number[] };
      expect(await reader.exited).toBe(0);
      expect(reads).toBeGreaterThan(100);
      expect(seen.sort((a, b) => a - b)).toEqual([2, 4000]);
    } finally {
      reader.kill();
    }
    expect(readdirSync(folder.path)).toEqual(["node-0.json"]);
  });

  test("what has the name and is not ours is replaced: another record, a link, a pipe, nothing at all", () => {
    using folder = new Folder();
    const file = folder.file("node-0.json");
    folder.look();
    folder.publish();
    const outside = `${folder.path}/../outside`;
    writeFileSync(outside, "untouched");
    const spoil: (() => void)[] = [
      () => writeFileSync(file, JSON.stringify(recordOf(1))),
      () => symlinkSync(outside, file),
      () => Bun.spawnSync(["mkfifo", file]),
      () => {},
    ];
    for (const make of spoil) {
      unlinkSync(file);
      make();
      folder.look();
      expect(folder.publish()).toEqual({ done: true });
      expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(own);
      expect(statSync(file).isFile()).toBe(true);
      folder.nowMs += 60_000;
    }
    expect(readFileSync(outside, "utf8")).toBe("untouched");
    expect(folder.peers).toEqual({});
    // A folder in its place cannot be replaced, and it is said.
    unlinkSync(file);
    mkdirSync(`${file}/deep`, { recursive: true });
    expect(folder.publish().problem).toMatch(
      /^Cannot publish this node's record as \S+: E(ISDIR|NOTEMPTY|EXIST) /,
    );
    expect(readdirSync(folder.path)).toEqual(["node-0.json"]);
  });

  test("two nodes of one name: neither writes as fast as it can, and it is said", () => {
    using folder = new Folder();
    const twin = { ...own, nodeIPs: ["192.0.2.101"] };
    folder.look();
    folder.publish();
    const spoil = () => publishRecord(folder.path, twin);
    spoil();
    folder.look();
    expect(folder.publish()).toEqual({ done: true });
    for (let i = 0; i < 10; i++) {
      spoil();
      folder.nowMs += 250;
      folder.look();
      const { done, problem } = folder.publish();
      expect(done).toBe(false);
      expect(problem).toMatch(/^Another process overwrites \S+node-0.json repeatedly: is there another node/);
    }
    expect(Object.keys(folder.refused)).toEqual(["node-0.json"]);
    expect(folder.lines.filter((line) => line.includes("repeatedly"))).toHaveLength(1);
    // What this node itself has to say does not wait.
    expect(folder.publish(changed)).toEqual({ done: true });
    expect(folder.refused).toEqual({});
    spoil();
    folder.nowMs += 60_000;
    expect(folder.publish(changed)).toEqual({ done: true });
  });

  test("if there is no directory it is reported once, and done when it comes", () => {
    using folder = new Folder();
    rmSync(folder.path, { recursive: true });
    const { problem } = folder.look();
    expect(problem).toStartWith("Cannot read the records directory");
    expect(folder.publish()).toEqual({ done: false });
    expect(Object.keys(folder.refused)).toEqual([folder.path]);
    expect(folder.lines).toHaveLength(1);
    mkdirSync(folder.path);
    folder.look();
    expect(folder.publish()).toEqual({ done: true });
    expect(folder.refused).toEqual({});
  });

  test("a name as long as a name may be", () => {
    using folder = new Folder();
    const name = "n".repeat(250);
    expect(publishRecord(folder.path, { ...own, name })).toBe(true);
    expect(existsSync(folder.file(`${name}.json`))).toBe(true);
    expect(() => publishRecord(folder.path, { ...own, name: `${name}nnn` })).toThrow(/ENAMETOOLONG/);
    expect(readdirSync(folder.path)).toHaveLength(1);
  });
});

describe("hearing of changes", () => {
  const told = (folder: Folder, from: number) =>
    waitUntil(() => folder.changes > from, { what: "word of a change", timeoutMs: 30_000 });

  test("of a record, in a directory that is there, that is replaced, and that comes later", async () => {
    using folder = new Folder();
    const hear = async (change: () => void, peers: readonly string[]) => {
      const before = folder.changes;
      change();
      await told(folder, before);
      await waitUntil(
        () => {
          folder.look();
          return Object.keys(folder.peers).join() === peers.join();
        },
        { what: () => `peers ${peers}, not ${Object.keys(folder.peers)}` },
      );
    };
    folder.look();
    await hear(() => folder.put(recordOf(1)), ["node-1"]);
    await hear(
      () => writeFileSync(folder.file("node-2.json"), JSON.stringify(recordOf(2))),
      ["node-1", "node-2"],
    );
    await hear(() => unlinkSync(folder.file("node-1.json")), ["node-2"]);
    // Nobody is told of a folder that takes this one's place; it is found within seconds, and followed.
    await hear(() => {
      renameSync(folder.path, `${folder.path}.old`);
      mkdirSync(folder.path);
      folder.put(recordOf(3));
    }, ["node-3"]);
    await hear(() => folder.put(recordOf(4)), ["node-3", "node-4"]);
    rmSync(folder.path, { recursive: true });
    folder.look();
    await hear(() => {
      mkdirSync(folder.path);
      folder.put(recordOf(5));
    }, ["node-5"]);
    await hear(() => folder.put(recordOf(6)), ["node-5", "node-6"]);
  });

  test("after a change, once more when the filesystem's clock has moved on; then never", async () => {
    using folder = new Folder();
    folder.put(recordOf(1));
    folder.look();
    await told(folder, 0);
    folder.nowMs += 2000;
    folder.look();
    const { changes } = folder;
    await Bun.sleep(6000);
    expect(folder.changes).toBe(changes);
  });
});

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env["REQUIRE_KERNEL"] === "1")
  throw new Error("REQUIRE_KERNEL=1, but this is not root");

describe.skipIf(!isRoot)("other filesystems (needs root, to mount some)", () => {
  /** Runs TypeScript with a Folder whose records lie on a filesystem that `mount` changes, in a namespace of its own. */
  function runMounted(script: string): string[] {
    const program = `
      const { Folder, own, recordOf } = await import("${resolve(import.meta.dir, "directory.ts")}");
      const folder = new Folder();
      const run = (...argv) => {
        const done = Bun.spawnSync(argv);
        if (done.exitCode !== 0) throw new Error(done.stderr.toString());
      };
      const mount = (...options) => run("mount", ...options, folder.path);
      const say = (value) => console.log(JSON.stringify(value));
      ${script}
      run("umount", folder.path);
      folder[Symbol.dispose]();`;
    const done = Bun.spawnSync(["unshare", "-m", process.execPath, "-e", program], { timeout: 50_000 });
    if (done.exitCode !== 0) throw new Error(`${done.stderr}`);
    return done.stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  test("read-only, then full: it is said what to do, peers stay, and it is done when it passes", () => {
    const [readOnly, shown, full, rest, again] = runMounted(`
      mount("-t", "tmpfs", "-o", "size=64k", "tmpfs");
      folder.put(recordOf(1));
      mount("-o", "remount,ro");
      folder.look();
      say(folder.publish().problem);
      say(folder.refused);
      mount("-o", "remount,rw,size=64k");
      try { require("node:fs").writeFileSync(folder.file("filler"), Buffer.alloc(1 << 20)); } catch {}
      folder.look();
      say(folder.publish().problem);
      say([folder.peers, require("node:fs").readdirSync(folder.path).sort()]);
      mount("-o", "remount,size=1m");
      folder.look();
      say([folder.publish(), folder.refused]);`);
    expect(readOnly).toMatch(
      /^Cannot publish this node's record as \S+: EROFS \(Read-only file system\)\. Let the agent write there/,
    );
    expect(shown as unknown).toEqual({ "node-0.json": readOnly });
    expect(full).toMatch(/ENOSPC \(No space left on device\)\. Free some space on its filesystem\.$/);
    expect(rest as unknown).toEqual([{ "node-1": "directory" }, ["filler", "node-1.json"]]);
    expect(again as unknown).toEqual([{ done: true }, {}]);
  });

  test("not mounted yet: what was known stays until the mount is there", () => {
    const [unmounted, mounted] = runMounted(`
      folder.store.putPeers([recordOf(1), recordOf(2)], "directory");
      folder.look();
      folder.publish();
      const { problem } = folder.look();
      say([problem, folder.peers]);
      mount("-t", "tmpfs", "tmpfs");
      folder.put(recordOf(2), recordOf(3));
      folder.look();
      say([folder.publish().done, folder.peers]);`) as unknown as [[string, object], unknown];
    expect(unmounted[0]).toMatch(
      /^No record of another node is left in \S+ although 2 peers came from it: is its filesystem mounted\?/,
    );
    expect(unmounted[1]).toEqual({ "node-1": "directory", "node-2": "directory" });
    expect(mounted).toEqual([true, { "node-2": "directory", "node-3": "directory" }]);
  });

  // ramfs has a clock that ticks at 100 to 1000 Hz; two changes of this loop are microseconds apart.
  test("a change within one tick of the filesystem's clock is found when that is over", () => {
    const [missed, corrected] = runMounted(`
      const { RecordReader, settleMs } = await import("${resolve(import.meta.dir, "../../../src/sources/directory/cache.ts")}");
      const { writeFileSync } = require("node:fs");
      mount("-t", "ramfs", "ramfs");
      const write = (cidr) => writeFileSync(folder.file("node-1.json"), JSON.stringify(recordOf(1, { podCIDRs: [cidr] })));
      let missed = 0, corrected = 0;
      for (let round = 0; round < 200; round++) {
        const reader = new RecordReader(folder.path, own.name);
        const read = (nowMs) => reader.read(nowMs, () => new Set()).entries.get("node-1").record.podCIDRs[0];
        write("10.0.1.0/24");
        read(0);
        write("10.0.2.0/24");
        if (read(1) === "10.0.1.0/24") missed++;
        if (read(1 + settleMs) === "10.0.2.0/24") corrected++;
      }
      say(missed);
      say(corrected);`) as unknown as [number, number];
    expect(missed).toBeGreaterThan(0);
    expect(corrected).toBe(200);
  });
});
