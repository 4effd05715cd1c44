// The folder of node records over time: files that turn bad or go away, folders
// that vanish, come back or are others, and thousands of files.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { settleMs } from "../../../src/sources/directory/cache.ts";
import { cpuMs } from "../../lab/cpu-time.ts";
import { Folder, own, recordOf } from "./directory.ts";

setDefaultTimeout(60_000);

describe("what turns bad or goes away", () => {
  test("a good file that turns bad leaves its peer as it was, also for an agent that starts then", () => {
    using folder = new Folder();
    folder.put(recordOf(1), recordOf(2));
    folder.look();
    const { generation } = folder.store;
    const whole = readFileSync(folder.file("node-1.json"), "utf8");
    const turns: (() => void)[] = [
      () => writeFileSync(folder.file("node-1.json"), whole.slice(0, 60)),
      () => writeFileSync(folder.file("node-1.json"), ""),
      () => writeFileSync(folder.file("node-1.json"), JSON.stringify(recordOf(3))),
      () => writeFileSync(folder.file("node-1.json"), " ".repeat(2_000_000)),
      () => {
        unlinkSync(folder.file("node-1.json"));
        symlinkSync("/etc/hostname", folder.file("node-1.json"));
      },
    ];
    for (const turn of turns) {
      turn();
      expect(folder.look()).toEqual({ records: 1, rejected: 1 });
      expect(folder.refused["node-1.json"]).toEndWith("; the record taken before stays");
      expect(folder.store.generation).toBe(generation);
      folder.look("");
      folder.look();
      expect(folder.peer("node-1")).toEqual(recordOf(1));
    }
    folder.put(recordOf(1, { podCIDRs: [] }));
    folder.look();
    expect(folder.peer("node-1")?.podCIDRs).toEqual([]);
    expect(folder.refused).toEqual({});
  });

  test("a file that goes takes its peer along, and no imported one", () => {
    using folder = new Folder();
    folder.store.putPeers([recordOf(7)]);
    folder.put(recordOf(1), recordOf(2), own);
    folder.look();
    renameSync(folder.file("node-1.json"), folder.file("node-1.json.gone"));
    folder.look();
    expect(folder.peers).toEqual({ "node-2": "directory", "node-7": "import" });
    // The last one too: this node's own record shows that the folder is the same.
    unlinkSync(folder.file("node-2.json"));
    expect(folder.look()).toEqual({ records: 0, rejected: 0 });
    expect(folder.peers).toEqual({ "node-7": "import" });
  });

  test("a directory that is missing, or a file in its place, leaves the peers; the directory is read when it comes", () => {
    using folder = new Folder();
    folder.put(recordOf(1), recordOf(2));
    folder.look();
    const { generation } = folder.store;
    renameSync(folder.path, `${folder.path}.away`);
    for (const makeWrong of [() => {}, () => writeFileSync(folder.path, "a file")]) {
      makeWrong();
      for (let i = 0; i < 3; i++) {
        const { problem, records } = folder.look();
        expect(problem).toMatch(
          /^Cannot read the records directory \S+: (ENOENT|ENOTDIR) \(.*\. Create the directory or mount it/,
        );
        expect(records).toBe(2);
        expect(folder.refused[folder.path]).toStartWith(problem as string);
      }
      expect(folder.store.generation).toBe(generation);
    }
    expect(folder.lines.filter((line) => line.startsWith("warn"))).toHaveLength(2);
    rmSync(folder.path);
    renameSync(`${folder.path}.away`, folder.path);
    folder.put(recordOf(3));
    unlinkSync(folder.file("node-1.json"));
    expect(folder.look()).toEqual({ records: 2, rejected: 0 });
    expect(folder.peers).toEqual({ "node-2": "directory", "node-3": "directory" });
    expect(folder.refused).toEqual({});
    expect(folder.lines.at(-1)).toContain("resolved: records cannot be read");
  });

  test("a directory that has lost all records at once, as one that is not mounted, leaves the peers", () => {
    using folder = new Folder();
    folder.put(recordOf(1), recordOf(2));
    folder.look();
    folder.publish();
    rmSync(folder.path, { recursive: true });
    mkdirSync(folder.path);
    for (let i = 0; i < 3; i++) {
      expect(folder.look().problem).toStartWith("No record of another node is left in ");
      folder.publish();
      expect(folder.peers).toEqual({ "node-1": "directory", "node-2": "directory" });
    }
    // Also where this is a new agent, and one peer is all there was.
    folder.look("");
    expect(folder.look().problem).toContain("2 peers came from it");
    folder.store.removePeer("node-1");
    expect(folder.look().problem).toContain("a peer came from it");
    expect(folder.peers).toEqual({ "node-2": "directory" });
    // It is the folder again as soon as somebody else is in it.
    folder.put(recordOf(3));
    expect(folder.look()).toEqual({ records: 1, rejected: 0 });
    expect(folder.peers).toEqual({ "node-3": "directory" });
  });

  test("another setting: records of the new directory take over; without one, peers stay", () => {
    using folder = new Folder();
    using next = new Folder();
    folder.put(recordOf(1), recordOf(2));
    writeFileSync(folder.file("bad.json"), "{");
    folder.look();
    expect(folder.look("")).toEqual({ records: 0, rejected: 0 });
    expect(folder.publish()).toEqual({ done: true });
    expect(folder.peers).toEqual({ "node-1": "directory", "node-2": "directory" });
    expect(folder.refused).toEqual({});
    expect(folder.look(next.path).problem).toStartWith("No record of another node");
    expect(folder.peers).toEqual({ "node-1": "directory", "node-2": "directory" });
    next.put(recordOf(2), recordOf(3));
    folder.look(next.path);
    expect(folder.peers).toEqual({ "node-2": "directory", "node-3": "directory" });
  });
});

describe("many", () => {
  test("5,000 records that have not changed are not read again", () => {
    using folder = new Folder();
    const files = Array.from({ length: 5000 }, (_, i) => recordOf(i + 1));
    for (const record of files) writeFileSync(folder.file(`${record.name}.json`), JSON.stringify(record));
    folder.look();
    folder.nowMs += settleMs;
    folder.look();
    const read = () => Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
    const before = read();
    const ms = cpuMs(() => expect(folder.look()).toEqual({ records: 5000, rejected: 0 }));
    // Ten times what it takes here.
    expect(ms).toBeLessThan(1000);
    expect(read() - before).toBeLessThan(100_000);
    folder.put(recordOf(2500, { podCIDRs: [] }));
    const { generation } = folder.store;
    folder.look();
    expect(folder.store.generation).toBe(generation + 1);
    expect(folder.peer("node-2500")?.podCIDRs).toEqual([]);
  });

  test("of more files than are taken, known peers come first", () => {
    using folder = new Folder();
    folder.put(recordOf(1));
    folder.look();
    for (let i = 0; i < 20_000; i++) writeFileSync(folder.file(`aa-${i}.json`), "");
    const { records, rejected, problem } = folder.look();
    expect([records, rejected]).toEqual([1, 19_999]);
    expect(problem).toMatch(/has more records than are accepted: 1 are left out/);
    expect(folder.refused[folder.path]).toBe(problem as string);
    expect(folder.peers).toEqual({ "node-1": "directory" });
  });

  test("of files that are large and change again and again, some are read in a pass, and the rest in turn", () => {
    using folder = new Folder();
    folder.put(recordOf(1), recordOf(2));
    folder.look();
    const junk = "x".repeat(1024 * 1024);
    const disturb = () => {
      for (let i = 0; i < 100; i++) writeFileSync(folder.file(`aa-${i}.json`), junk);
    };
    const read = () => Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
    disturb();
    folder.put(recordOf(2, { podCIDRs: [] }), recordOf(3));
    for (let i = 0; i < 4; i++) {
      const before = read();
      folder.look();
      expect(read() - before).toBeLessThan(40 * 1024 * 1024);
      disturb();
    }
    // Nobody was forgotten, neither those that are known, nor one that changed, nor one that came.
    expect(folder.peers).toEqual({ "node-1": "directory", "node-2": "directory", "node-3": "directory" });
    expect(folder.peer("node-2")?.podCIDRs).toEqual([]);
  });
});
