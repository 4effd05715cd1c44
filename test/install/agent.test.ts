// Kept installed by the agent: what owners and operators do to the directories, and
// what it does and says about it. Real files; time is the test's.
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { Installation } from "../../src/agent/installation.ts";
import { disk } from "../../src/install/disk.ts";
import type { Target } from "../../src/install/install.ts";
import { longestPauseMs, settleMs } from "../../src/install/restores.ts";
import { Log } from "../../src/telemetry/log.ts";
import { waitUntil } from "../lab/wait.ts";
import { Host, ptpConf, ptpList, samples } from "./host.ts";

setDefaultTimeout(60_000);

class Kept implements Disposable {
  readonly host = new Host();
  readonly lines: string[] = [];
  wanted: Target | undefined = this.host.target();
  nowMs = 1_000_000;
  changes = 0;
  readonly installation = new Installation(() => this.wanted, {
    log: new Log({
      ...{ format: "text", level: "debug", now: () => "" },
      write: (line) => this.lines.push(line.trim()),
    }),
    disk,
    source: this.host.source,
    onChange: () => {
      this.changes++;
    },
    now: () => this.nowMs,
  });

  constructor() {
    this.host.plugins("ptp");
    opened.push(this);
  }

  /** At a time after the last look. */
  reconcile(afterMs = 0) {
    this.nowMs += afterMs;
    return this.installation.reconcile();
  }

  /** Until it is put in, which takes two looks if it has to settle first. */
  settle() {
    this.reconcile();
    return this.reconcile(settleMs);
  }

  [Symbol.dispose](): void {
    this.installation[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }
}

const opened: Kept[] = [];
afterEach(() => {
  for (const kept of opened.splice(0)) kept[Symbol.dispose]();
});

describe("kept installed", () => {
  test("nothing is touched if it was not asked for", () => {
    const kept = new Kept();
    kept.host.put("10.conflist", ptpList);
    kept.wanted = undefined;
    expect(kept.settle()).toEqual({});
    expect(kept.host.texts()).toEqual({ "10.conflist": ptpList });
    expect(kept.lines).toEqual([]);
  });

  test("if all is as it should be, nothing is written and nothing logged", async () => {
    const kept = new Kept();
    kept.host.put("10.conflist", ptpList);
    await kept.host.install();
    const before = kept.host.stamps();
    for (let i = 0; i < 5; i++) expect(kept.reconcile(60_000)).toEqual({});
    expect(kept.host.stamps()).toEqual(before);
    expect(kept.lines).toEqual([]);
  });

  test.each(samples)("$cni rewrites it: it is put in again once the writer has settled", async (sample) => {
    const kept = new Kept();
    kept.host.prepare(sample);
    await kept.host.install();
    const chained = kept.host.get(sample.file);
    for (let i = 0; i < 3; i++) {
      kept.reconcile(3_600_000);
      kept.host.put(sample.file, sample.text);
      expect(kept.reconcile()).toMatchObject({
        problem: expect.stringContaining("does not call wg-cni"),
        wakeInMs: settleMs,
      });
      expect(kept.host.get(sample.file)).toBe(sample.text);
      expect(kept.reconcile(settleMs)).toEqual({});
      expect(kept.host.get(sample.file)).toBe(chained);
    }
    expect(
      kept.lines.filter((line) =>
        line.includes("removed from the network configuration by another process, restored"),
      ),
    ).toHaveLength(2);
    expect(kept.lines.at(-1)).toStartWith("info  resolved: ");
  });

  test("a change is heard of, also of a directory that comes later", async () => {
    const kept = new Kept();
    rmSync(kept.host.confDir, { recursive: true });
    expect(kept.reconcile()).toEqual({
      problem: `There is no network configuration yet (${kept.host.confDir})`,
    });
    mkdirSync(kept.host.confDir);
    // Nothing tells of a directory that is made: it is looked for.
    await waitUntil(() => kept.changes > 0, { what: "hearing of the directory" });
    kept.reconcile();
    kept.changes = 0;
    writeFileSync(kept.host.path("10.conflist"), ptpList);
    await waitUntil(() => kept.changes > 0, { what: "hearing of the file" });
    kept.settle();
    expect(kept.host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
    kept.changes = 0;
    // In place, as Calico does, which tells of no new name.
    writeFileSync(kept.host.path("10.conflist"), ptpList);
    await waitUntil(() => kept.changes > 0, { what: "hearing of the rewriting" });
    kept.changes = 0;
    unlinkSync(kept.host.plugin);
    await waitUntil(() => kept.changes > 0, { what: "hearing of the executable that is gone" });
  });

  test("the executable is put back if it is gone; another version that is there stays", async () => {
    const kept = new Kept();
    kept.host.put("10.conflist", ptpList);
    await kept.host.install();
    kept.reconcile();
    unlinkSync(kept.host.plugin);
    expect(kept.reconcile()).toEqual({});
    expect(existsSync(kept.host.plugin)).toBe(true);
    expect(kept.lines.at(-1)).toStartWith("warn  plugin missing from its directory, restored");
    kept.host.release("v2");
    const before = kept.host.stamps();
    kept.reconcile();
    expect(kept.host.stamps()).toEqual(before);
  });

  test("a half-written network is waited for and not answered", async () => {
    const kept = new Kept();
    kept.host.put("10.conflist", ptpList);
    await kept.host.install();
    kept.reconcile();
    kept.host.put("10.conflist", ptpList.slice(0, 80));
    const { problem } = kept.reconcile();
    expect(problem).toMatch(/^10\.conflist cannot be used: it is not JSON, or not wholly written yet/);
    for (let i = 0; i < 5; i++) kept.reconcile(5000);
    expect(kept.host.get("10.conflist")).toBe(ptpList.slice(0, 80));
    expect(kept.lines.filter((line) => line.includes("not wholly written"))).toHaveLength(1);
    kept.host.put("10.conflist", ptpList);
    kept.settle();
    expect(kept.host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
  });

  test("a single plugin that is rewritten", async () => {
    const kept = new Kept();
    kept.host.put("10.conf", ptpConf);
    kept.settle();
    expect(Object.keys(kept.host.texts())).toEqual([".10.conf.before-wg-cni", "10.conflist"]);
    kept.host.put("10.conf", ptpConf.replace("10.1.0.0", "10.2.0.0"));
    kept.reconcile(3_600_000);
    kept.settle();
    expect(Object.keys(kept.host.texts())).toEqual([".10.conf.before-wg-cni", "10.conflist"]);
    expect(kept.host.get("10.conflist")).toContain("10.2.0.0");
  });

  test("two that fight: ever more rarely, said once, with what to do", async () => {
    const kept = new Kept();
    kept.host.put("10.conflist", ptpList);
    await kept.host.install();
    let writes = 0;
    const untilMs = kept.nowMs + 4 * 3_600_000;
    while (kept.nowMs < untilMs) {
      const { wakeInMs = 1000 } = kept.reconcile();
      expect(wakeInMs).toBeLessThanOrEqual(longestPauseMs + settleMs);
      if (kept.host.types("10.conflist").length === 2) {
        writes++;
        kept.host.put("10.conflist", ptpList);
      }
      kept.nowMs += Math.max(1, wakeInMs);
    }
    expect(writes).toBeLessThan(40);
    expect(writes).toBeGreaterThan(20);
    const fights = kept.lines.filter((line) => line.includes("Something takes wg-cni out of the network"));
    expect(fights).toHaveLength(1);
    expect(fights[0]).toContain("Cilium does with cni.exclusive=false");
    expect(kept.lines.filter((line) => !line.startsWith("debug")).length).toBeLessThan(20);
    // It is put in once more, and stays: not believed at once.
    kept.reconcile(longestPauseMs);
    expect(kept.host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
    expect(kept.reconcile().problem).toContain("whenever it is put in");
    expect(kept.reconcile(2 * longestPauseMs)).toEqual({});
    expect(kept.lines.at(-1)).toStartWith("info  resolved: ");
  });

  test("what was uninstalled meanwhile is not put back", async () => {
    const kept = new Kept();
    kept.host.put("10.conflist", ptpList);
    await kept.host.install();
    kept.reconcile();
    // The settings are read again once nobody else can be at it.
    let reads = 0;
    const target = kept.wanted;
    Object.defineProperty(kept, "wanted", { get: () => (++reads >= 3 ? undefined : target) });
    kept.host.put("10.conflist", ptpList);
    kept.settle();
    expect(reads).toBeGreaterThanOrEqual(3);
    expect(kept.host.texts()).toEqual({ "10.conflist": ptpList });
    expect(kept.reconcile(settleMs)).toEqual({});
    expect(kept.host.texts()).toEqual({ "10.conflist": ptpList });
  });

  test("another directory is followed from the next look on", async () => {
    const kept = new Kept();
    kept.host.put("10.conflist", ptpList);
    kept.settle();
    expect(kept.lines[0]).toStartWith("warn  plugin missing from its directory");
    const other = new Host();
    try {
      other.plugins("ptp");
      other.put("20.conflist", ptpList);
      kept.wanted = other.target({ type: "wg-cni", mtu: 1400 });
      kept.settle();
      expect(JSON.parse(other.get("20.conflist")).plugins[1]).toEqual({ type: "wg-cni", mtu: 1400 });
      expect(existsSync(other.plugin)).toBe(true);
    } finally {
      other[Symbol.dispose]();
    }
  });
});
