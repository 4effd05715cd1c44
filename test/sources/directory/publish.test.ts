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
import { Directory, own, recordOf } from "./directory.ts";

setDefaultTimeout(60_000);

const changed: NodeRecord = { ...own, podCIDRs: ["10.200.0.0/24"] };

describe("publishing", () => {
  test("what is written is the record, readable to all; the same again writes nothing", () => {
    using directory = new Directory();
    const umask = process.umask(0o077);
    try {
      directory.look();
      expect(directory.publish()).toEqual({ done: true });
    } finally {
      process.umask(umask);
    }
    const file = directory.file("node-0.json");
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(own);
    const { ino, mode } = statSync(file);
    expect(mode & 0o777).toBe(0o644);
    expect(readdirSync(directory.path)).toEqual(["node-0.json"]);
    directory.look();
    expect(directory.publish()).toEqual({ done: true });
    // A new agent looks into the file, and finds nothing to do either.
    directory.look("");
    directory.look();
    expect(directory.publish()).toEqual({ done: true });
    expect(statSync(file).ino).toBe(ino);
    expect(directory.publish(changed)).toEqual({ done: true });
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(changed);
    expect(directory.peers).toEqual({});
  });

  test("a reader that never stops sees whole records only", async () => {
    using directory = new Directory();
    const file = directory.file("node-0.json");
    const long = { ...own, podCIDRs: Array.from({ length: 4000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`) };
    publishRecord(directory.path, own);
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
        expect(publishRecord(directory.path, i % 2 === 0 ? long : own)).toBe(true);
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
    expect(readdirSync(directory.path)).toEqual(["node-0.json"]);
  });

  test("what has the name and is not ours is replaced: another record, a link, a pipe, nothing at all", () => {
    using directory = new Directory();
    const file = directory.file("node-0.json");
    directory.look();
    directory.publish();
    const outside = `${directory.path}/../outside`;
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
      directory.look();
      expect(directory.publish()).toEqual({ done: true });
      expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(own);
      expect(statSync(file).isFile()).toBe(true);
      directory.nowMs += 60_000;
    }
    expect(readFileSync(outside, "utf8")).toBe("untouched");
    expect(directory.peers).toEqual({});
    // A directory in its place cannot be replaced, and it is said.
    unlinkSync(file);
    mkdirSync(`${file}/deep`, { recursive: true });
    expect(directory.publish().problem).toMatch(
      /^Cannot publish this node's record as \S+: E(ISDIR|NOTEMPTY|EXIST) /,
    );
    expect(readdirSync(directory.path)).toEqual(["node-0.json"]);
  });

  test("two nodes of one name: neither writes as fast as it can, and it is said", () => {
    using directory = new Directory();
    const twin = { ...own, nodeIPs: ["192.0.2.101"] };
    directory.look();
    directory.publish();
    const spoil = () => publishRecord(directory.path, twin);
    spoil();
    directory.look();
    expect(directory.publish()).toEqual({ done: true });
    for (let i = 0; i < 10; i++) {
      spoil();
      directory.nowMs += 250;
      directory.look();
      const { done, problem } = directory.publish();
      expect(done).toBe(false);
      expect(problem).toMatch(/^Another process overwrites \S+node-0.json repeatedly: is there another node/);
    }
    expect(Object.keys(directory.refused)).toEqual(["node-0.json"]);
    expect(directory.lines.filter((line) => line.includes("repeatedly"))).toHaveLength(1);
    // A change of this node's own record does not wait.
    expect(directory.publish(changed)).toEqual({ done: true });
    expect(directory.refused).toEqual({});
    spoil();
    directory.nowMs += 60_000;
    expect(directory.publish(changed)).toEqual({ done: true });
  });

  test("if there is no directory it is reported once, and done when it comes", () => {
    using directory = new Directory();
    rmSync(directory.path, { recursive: true });
    const { problem } = directory.look();
    expect(problem).toStartWith("Cannot read the records directory");
    expect(directory.publish()).toEqual({ done: false });
    expect(Object.keys(directory.refused)).toEqual([directory.path]);
    expect(directory.lines).toHaveLength(1);
    mkdirSync(directory.path);
    directory.look();
    expect(directory.publish()).toEqual({ done: true });
    expect(directory.refused).toEqual({});
  });

  test("a name as long as a name may be", () => {
    using directory = new Directory();
    const name = "n".repeat(250);
    expect(publishRecord(directory.path, { ...own, name })).toBe(true);
    expect(existsSync(directory.file(`${name}.json`))).toBe(true);
    expect(() => publishRecord(directory.path, { ...own, name: `${name}nnn` })).toThrow(/ENAMETOOLONG/);
    expect(readdirSync(directory.path)).toHaveLength(1);
  });
});

describe("hearing of changes", () => {
  const told = (directory: Directory, from: number) =>
    waitUntil(() => directory.changes > from, { what: "word of a change", timeoutMs: 30_000 });

  test("of a record, in a directory that is there, that is replaced, and that comes later", async () => {
    using directory = new Directory();
    const hear = async (change: () => void, peers: readonly string[]) => {
      const before = directory.changes;
      change();
      await told(directory, before);
      await waitUntil(
        () => {
          directory.look();
          return Object.keys(directory.peers).join() === peers.join();
        },
        { what: () => `peers ${peers}, not ${Object.keys(directory.peers)}` },
      );
    };
    directory.look();
    await hear(() => directory.put(recordOf(1)), ["node-1"]);
    await hear(
      () => writeFileSync(directory.file("node-2.json"), JSON.stringify(recordOf(2))),
      ["node-1", "node-2"],
    );
    await hear(() => unlinkSync(directory.file("node-1.json")), ["node-2"]);
    // Nobody is told of a directory that takes this one's place; it is found within seconds, and followed.
    await hear(() => {
      renameSync(directory.path, `${directory.path}.old`);
      mkdirSync(directory.path);
      directory.put(recordOf(3));
    }, ["node-3"]);
    await hear(() => directory.put(recordOf(4)), ["node-3", "node-4"]);
    rmSync(directory.path, { recursive: true });
    directory.look();
    await hear(() => {
      mkdirSync(directory.path);
      directory.put(recordOf(5));
    }, ["node-5"]);
    await hear(() => directory.put(recordOf(6)), ["node-5", "node-6"]);
  });

  test("after a change, once more when the filesystem's clock has moved on; then never", async () => {
    using directory = new Directory();
    directory.put(recordOf(1));
    directory.look();
    await told(directory, 0);
    directory.nowMs += 2000;
    directory.look();
    const { changes } = directory;
    await Bun.sleep(6000);
    expect(directory.changes).toBe(changes);
  });
});

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env["REQUIRE_KERNEL"] === "1")
  throw new Error("REQUIRE_KERNEL=1, but this is not root");

describe.skipIf(!isRoot)("other filesystems (needs root, to mount some)", () => {
  /** Runs TypeScript with a Directory whose records lie on a filesystem that `mount` changes, in a namespace of its own. */
  function runMounted(script: string): string[] {
    const program = `
      const { Directory, own, recordOf } = await import("${resolve(import.meta.dir, "directory.ts")}");
      const directory = new Directory();
      const run = (...argv) => {
        const done = Bun.spawnSync(argv);
        if (done.exitCode !== 0) throw new Error(done.stderr.toString());
      };
      const mount = (...options) => run("mount", ...options, directory.path);
      const say = (value) => console.log(JSON.stringify(value));
      ${script}
      run("umount", directory.path);
      directory[Symbol.dispose]();`;
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
      directory.put(recordOf(1));
      mount("-o", "remount,ro");
      directory.look();
      say(directory.publish().problem);
      say(directory.refused);
      mount("-o", "remount,rw,size=64k");
      try { require("node:fs").writeFileSync(directory.file("filler"), Buffer.alloc(1 << 20)); } catch {}
      directory.look();
      say(directory.publish().problem);
      say([directory.peers, require("node:fs").readdirSync(directory.path).sort()]);
      mount("-o", "remount,size=1m");
      directory.look();
      say([directory.publish(), directory.refused]);`);
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
      directory.store.putPeers([recordOf(1), recordOf(2)], "directory");
      directory.look();
      directory.publish();
      const { problem } = directory.look();
      say([problem, directory.peers]);
      mount("-t", "tmpfs", "tmpfs");
      directory.put(recordOf(2), recordOf(3));
      directory.look();
      say([directory.publish().done, directory.peers]);`) as unknown as [[string, object], unknown];
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
      const write = (cidr) => writeFileSync(directory.file("node-1.json"), JSON.stringify(recordOf(1, { podCIDRs: [cidr] })));
      let missed = 0, corrected = 0;
      for (let round = 0; round < 200; round++) {
        const reader = new RecordReader(directory.path, own.name);
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
