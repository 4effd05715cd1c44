// The directory of node records over time: files that turn bad or go away, directories
// that vanish, come back or are others, and thousands of files.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { settleMs } from "../../../src/sources/directory/cache.ts";
import { cpuMs } from "../../lab/cpu-time.ts";
import { Directory, own, recordOf } from "./directory.ts";

setDefaultTimeout(60_000);

describe("what turns bad or goes away", () => {
  test("a good file that turns bad leaves its peer as it was, also for an agent that starts then", () => {
    using directory = new Directory();
    directory.put(recordOf(1), recordOf(2));
    directory.look();
    const { generation } = directory.store;
    const whole = readFileSync(directory.file("node-1.json"), "utf8");
    const turns: (() => void)[] = [
      () => writeFileSync(directory.file("node-1.json"), whole.slice(0, 60)),
      () => writeFileSync(directory.file("node-1.json"), ""),
      () => writeFileSync(directory.file("node-1.json"), JSON.stringify(recordOf(3))),
      () => writeFileSync(directory.file("node-1.json"), " ".repeat(2_000_000)),
      () => {
        unlinkSync(directory.file("node-1.json"));
        symlinkSync("/etc/hostname", directory.file("node-1.json"));
      },
    ];
    for (const turn of turns) {
      turn();
      expect(directory.look()).toEqual({ records: 1, rejected: 1 });
      expect(directory.refused["node-1.json"]).toEndWith("; the record taken before stays");
      expect(directory.store.generation).toBe(generation);
      directory.look("");
      directory.look();
      expect(directory.peer("node-1")).toEqual(recordOf(1));
    }
    directory.put(recordOf(1, { podCIDRs: [] }));
    directory.look();
    expect(directory.peer("node-1")?.podCIDRs).toEqual([]);
    expect(directory.refused).toEqual({});
  });

  test("a file that goes takes its peer along, and no imported one", () => {
    using directory = new Directory();
    directory.store.putPeers([recordOf(7)]);
    directory.put(recordOf(1), recordOf(2), own);
    directory.look();
    renameSync(directory.file("node-1.json"), directory.file("node-1.json.gone"));
    directory.look();
    expect(directory.peers).toEqual({ "node-2": "directory", "node-7": "import" });
    // The last one too: this node's own record shows that the directory is the same.
    unlinkSync(directory.file("node-2.json"));
    expect(directory.look()).toEqual({ records: 0, rejected: 0 });
    expect(directory.peers).toEqual({ "node-7": "import" });
  });

  test("a directory that is missing, or a file in its place, leaves the peers; the directory is read when it comes", () => {
    using directory = new Directory();
    directory.put(recordOf(1), recordOf(2));
    directory.look();
    const { generation } = directory.store;
    renameSync(directory.path, `${directory.path}.away`);
    for (const makeWrong of [() => {}, () => writeFileSync(directory.path, "a file")]) {
      makeWrong();
      for (let i = 0; i < 3; i++) {
        const { problem, records } = directory.look();
        expect(problem).toMatch(
          /^Cannot read the records directory \S+: (ENOENT|ENOTDIR) \(.*\. Create the directory or mount it/,
        );
        expect(records).toBe(2);
        expect(directory.refused[directory.path]).toStartWith(problem as string);
      }
      expect(directory.store.generation).toBe(generation);
    }
    expect(directory.lines.filter((line) => line.startsWith("warn"))).toHaveLength(2);
    rmSync(directory.path);
    renameSync(`${directory.path}.away`, directory.path);
    directory.put(recordOf(3));
    unlinkSync(directory.file("node-1.json"));
    expect(directory.look()).toEqual({ records: 2, rejected: 0 });
    expect(directory.peers).toEqual({ "node-2": "directory", "node-3": "directory" });
    expect(directory.refused).toEqual({});
    expect(directory.lines.at(-1)).toContain("resolved: records cannot be read");
  });

  test("a directory that has lost all records at once, as one that is not mounted, leaves the peers", () => {
    using directory = new Directory();
    directory.put(recordOf(1), recordOf(2));
    directory.look();
    directory.publish();
    rmSync(directory.path, { recursive: true });
    mkdirSync(directory.path);
    for (let i = 0; i < 3; i++) {
      expect(directory.look().problem).toStartWith("No record of another node is left in ");
      directory.publish();
      expect(directory.peers).toEqual({ "node-1": "directory", "node-2": "directory" });
    }
    // Also where this is a new agent, and one peer is all there was.
    directory.look("");
    expect(directory.look().problem).toContain("2 peers came from it");
    directory.store.removePeer("node-1");
    expect(directory.look().problem).toContain("a peer came from it");
    expect(directory.peers).toEqual({ "node-2": "directory" });
    // It is the directory again as soon as somebody else is in it.
    directory.put(recordOf(3));
    expect(directory.look()).toEqual({ records: 1, rejected: 0 });
    expect(directory.peers).toEqual({ "node-3": "directory" });
  });

  test("another setting: records of the new directory take over; without one, peers stay", () => {
    using directory = new Directory();
    using next = new Directory();
    directory.put(recordOf(1), recordOf(2));
    writeFileSync(directory.file("bad.json"), "{");
    directory.look();
    expect(directory.look("")).toEqual({ records: 0, rejected: 0 });
    expect(directory.publish()).toEqual({ done: true });
    expect(directory.peers).toEqual({ "node-1": "directory", "node-2": "directory" });
    expect(directory.refused).toEqual({});
    expect(directory.look(next.path).problem).toStartWith("No record of another node");
    expect(directory.peers).toEqual({ "node-1": "directory", "node-2": "directory" });
    next.put(recordOf(2), recordOf(3));
    directory.look(next.path);
    expect(directory.peers).toEqual({ "node-2": "directory", "node-3": "directory" });
  });
});

describe("many", () => {
  test("5,000 records that have not changed are not read again", () => {
    using directory = new Directory();
    const files = Array.from({ length: 5000 }, (_, i) => recordOf(i + 1));
    for (const record of files) writeFileSync(directory.file(`${record.name}.json`), JSON.stringify(record));
    directory.look();
    directory.nowMs += settleMs;
    directory.look();
    const read = () => Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
    const before = read();
    const ms = cpuMs(() => expect(directory.look()).toEqual({ records: 5000, rejected: 0 }));
    // Ten times what it takes here.
    expect(ms).toBeLessThan(1000);
    expect(read() - before).toBeLessThan(100_000);
    directory.put(recordOf(2500, { podCIDRs: [] }));
    const { generation } = directory.store;
    directory.look();
    expect(directory.store.generation).toBe(generation + 1);
    expect(directory.peer("node-2500")?.podCIDRs).toEqual([]);
  });

  test("of more files than are taken, known peers come first", () => {
    using directory = new Directory();
    directory.put(recordOf(1));
    directory.look();
    for (let i = 0; i < 20_000; i++) writeFileSync(directory.file(`aa-${i}.json`), "");
    const { records, rejected, problem } = directory.look();
    expect([records, rejected]).toEqual([1, 19_999]);
    expect(problem).toMatch(/has more records than are accepted: 1 are left out/);
    expect(directory.refused[directory.path]).toBe(problem as string);
    expect(directory.peers).toEqual({ "node-1": "directory" });
  });

  test("of files that are large and change again and again, some are read in a pass, and the rest in turn", () => {
    using directory = new Directory();
    directory.put(recordOf(1), recordOf(2));
    directory.look();
    const junk = "x".repeat(1024 * 1024);
    const disturb = () => {
      for (let i = 0; i < 100; i++) writeFileSync(directory.file(`aa-${i}.json`), junk);
    };
    const read = () => Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
    disturb();
    directory.put(recordOf(2, { podCIDRs: [] }), recordOf(3));
    for (let i = 0; i < 4; i++) {
      const before = read();
      directory.look();
      expect(read() - before).toBeLessThan(40 * 1024 * 1024);
      disturb();
    }
    // Nobody was forgotten, neither those that are known, nor one that changed, nor one that came.
    expect(directory.peers).toEqual({ "node-1": "directory", "node-2": "directory", "node-3": "directory" });
    expect(directory.peer("node-2")?.podCIDRs).toEqual([]);
  });
});
