// Others at the same time: several installers, and an owner that rewrites the
// network while we do. Nobody's text is lost, nobody reads a half.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { stampOf } from "../../src/fswatch/stamp.ts";
import { type Disk, disk } from "../../src/install/disk.ts";
import { Host, ptpConf, ptpList } from "./host.ts";

setDefaultTimeout(120_000);

const source = (file: string) => JSON.stringify(`${import.meta.dir}/../../src/install/${file}.ts`);

/** A process of its own; resolves with what it printed, rejects if it fails. */
async function run(host: Host, program: string): Promise<string> {
  const file = `${host.root}/${Bun.hash(program)}.ts`;
  writeFileSync(file, program);
  const child = Bun.spawn([process.execPath, file], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(stderr);
  return stdout;
}

function installer(host: Host, id: number, rounds: number): string {
  return `// ${id}
    import { disk } from ${source("disk")};
    import { install } from ${source("install")};
    const target = ${JSON.stringify(host.target())};
    for (let i = 0; i < ${rounds}; i++)
      await install({ disk, target, source: ${JSON.stringify(host.source)}, waitMs: 60_000, say: () => {} });`;
}

/** Reads the network as fast as it can until it is as wanted; prints what it has seen, fails if it is not whole. */
function reader(host: Host, file: string, until: string): string {
  return `
    import { readFileSync } from "node:fs";
    const seen = new Set();
    for (let reads = 1; ; reads++) {
      const { name, plugins } = JSON.parse(readFileSync(${JSON.stringify(host.path(file))}, "utf8"));
      seen.add(plugins.map(({ type }) => type).join(","));
      if (name === ${JSON.stringify(until)}) { console.log(JSON.stringify({ reads, seen: [...seen].sort() })); break; }
      await Bun.sleep(0);
    }`;
}

test("four installers, an owner that renames, and a runtime that reads: all whole, the last text stays", async () => {
  using host = new Host();
  host.plugins("ptp");
  host.put("10.conflist", ptpList);
  const installers = [1, 2, 3, 4].map((id) => run(host, installer(host, id, 40)));
  const reading = run(host, reader(host, "10.conflist", "the-last"));
  let working = true;
  const all = Promise.all(installers).finally(() => {
    working = false;
  });
  for (let i = 0; working; i++) {
    writeFileSync(host.path("owner.tmp"), ptpList.replace('"pods"', `"pods-${i}"`));
    renameSync(host.path("owner.tmp"), host.path("10.conflist"));
    await Bun.sleep(3);
  }
  await all;
  writeFileSync(host.path("owner.tmp"), ptpList.replace('"pods"', '"the-last"'));
  renameSync(host.path("owner.tmp"), host.path("10.conflist"));
  const { reads, seen } = JSON.parse(await reading) as { reads: number; seen: string[] };
  expect(reads).toBeGreaterThan(10);
  expect(seen).toEqual(["ptp", "ptp,wg-cni"]);
  expect(host.assert()).toMatchObject({ wrote: true });
  host.uninstall();
  expect(host.texts()).toEqual({ "10.conflist": ptpList.replace('"pods"', '"the-last"') });
});

test("an owner that writes in place while two install: its last text is what is chained", async () => {
  using host = new Host();
  host.plugins("ptp");
  host.put("10.conflist", ptpList);
  const installers = [1, 2].map((id) => run(host, installer(host, id, 60)));
  let [working, last] = [true, ""];
  const all = Promise.all(installers).finally(() => {
    working = false;
  });
  for (let i = 0; working; i++) {
    last = ptpList.replace('"pods"', `"pods-${i}"`);
    writeFileSync(host.path("10.conflist"), last);
    await Bun.sleep(5);
  }
  await all;
  host.assert();
  expect(host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
  host.uninstall();
  expect(host.texts()).toEqual({ "10.conflist": last });
});

test("installs and uninstalls at the same time: no network ever names an executable that is not there", async () => {
  using host = new Host();
  host.plugins("ptp");
  host.put("10.conflist", ptpList);
  const uninstaller = (id: number) => `// ${id}
    import { disk } from ${source("disk")};
    import { uninstall } from ${source("install")};
    for (let i = 0; i < 60; i++) {
      uninstall(disk, ${JSON.stringify(host.target())}, false);
      await Bun.sleep(2);
    }`;
  let working = true;
  const all = Promise.all([
    ...[1, 2].map((id) => run(host, installer(host, id, 60))),
    ...[3, 4].map((id) => run(host, uninstaller(id))),
  ]).finally(() => {
    working = false;
  });
  const seen = new Set<string>();
  while (working) {
    const before = stampOf(host.path("10.conflist"));
    const names = host.get("10.conflist").includes("wg-cni");
    const isThere = existsSync(host.plugin);
    // The same file before and after was the same in between.
    if (stampOf(host.path("10.conflist")) === before) seen.add(names ? `named, ${isThere}` : "not named");
    await Bun.sleep(0);
  }
  await all;
  expect([...seen].sort()).toEqual(["named, true", "not named"]);
  const isThere = existsSync(host.plugin);
  expect(host.get("10.conflist").includes("wg-cni")).toBe(isThere);
  host.uninstall();
  expect(host.texts()).toEqual({ "10.conflist": ptpList });
});

describe("an owner that writes between two steps of ours", () => {
  /** Calls `meanwhile` once, right before the nth of a kind of deed. */
  function interrupted(
    name: "exchange" | "name" | "rename",
    nth: number,
    canExchange: boolean,
    meanwhile: () => void,
  ): Disk {
    let count = 0;
    const changed: Disk = { ...disk, ...(canExchange ? {} : { exchange: () => false }) };
    const deed = changed[name] as (a: string, b: string) => boolean;
    return Object.assign(changed, {
      [name]: (a: string, b: string) => {
        if (++count === nth) meanwhile();
        return deed(a, b);
      },
    });
  }

  const theirs = ptpList.replace("10.1.0.0", "10.9.0.0");
  const ways: readonly [name: string, write: (path: string) => void][] = [
    ["in place", (path) => writeFileSync(path, theirs)],
    [
      "by rename",
      (path) => {
        writeFileSync(`${path}.theirs`, theirs);
        renameSync(`${path}.theirs`, path);
      },
    ],
    ["a half, and the rest later", (path) => writeFileSync(path, theirs.slice(0, 80))],
  ];

  test.each(ways)("%s: theirs is what is there in the end", (name, write) => {
    for (const [deed, nth] of [
      ["exchange", 1],
      ["exchange", 2],
    ] as const) {
      using host = new Host();
      host.plugins("ptp", "wg-cni");
      host.put("10.conflist", ptpList);
      let writes = 0;
      const meanwhile = () => {
        writes++;
        write(host.path("10.conflist"));
      };
      if (nth === 2) {
        // Only a first interruption makes us exchange a second time.
        const first = interrupted("exchange", 1, true, () => host.put("10.conflist", `${ptpList} `));
        const changed = { ...first, exchange: second(first, meanwhile) };
        host.assert(undefined, changed);
      } else host.assert(undefined, interrupted(deed, nth, true, meanwhile));
      expect(writes).toBe(1);
      if (name.startsWith("a half")) {
        expect(host.get("10.conflist")).toBe(theirs.slice(0, 80));
        writeFileSync(host.path("10.conflist"), theirs);
        host.assert();
      }
      expect(host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
      expect(host.get("10.conflist")).toContain("10.9.0.0");
      host.uninstall();
      expect(host.texts()).toEqual({ "10.conflist": theirs });
    }
  });

  function second(on: Disk, meanwhile: () => void): Disk["exchange"] {
    let count = 0;
    return (a, b) => {
      if (++count === 2) meanwhile();
      return on.exchange(a, b);
    };
  }

  test("an owner that removes it, and writes it later", () => {
    using host = new Host();
    host.plugins("ptp", "wg-cni");
    host.put("10.conflist", ptpList);
    const gone = interrupted("exchange", 1, true, () => unlinkSync(host.path("10.conflist")));
    expect(host.assert(undefined, gone)).toEqual({ waitsFor: "There is no network configuration yet" });
    host.put("10.conflist", theirs);
    expect(host.assert()).toMatchObject({ wrote: true });
    expect(Object.keys(host.texts())).toEqual(["10.conflist"]);
    host.uninstall();
    expect(host.texts()).toEqual({ "10.conflist": theirs });
  });

  test("a single plugin that is rewritten just before it is put aside", () => {
    using host = new Host();
    host.plugins("ptp", "wg-cni");
    host.put("10.conf", ptpConf);
    const theirs = ptpConf.replace("10.1.0.0", "10.9.0.0");
    host.assert(
      undefined,
      interrupted("rename", 1, true, () => host.put("10.conf", theirs)),
    );
    expect(host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
    expect(host.get("10.conflist")).toContain("10.9.0.0");
    expect(readFileSync(host.path(".10.conf.before-wg-cni"), "utf8")).toBe(theirs);
    host.uninstall();
    expect(host.texts()).toEqual({ "10.conf": theirs });
  });

  test("a single plugin whose owner makes it a list just before ours gets the name: theirs is the network", () => {
    using host = new Host();
    host.plugins("ptp", "wg-cni");
    host.put("10.conf", ptpConf);
    const upgraded = interrupted("name", 1, true, () => {
      host.put("10.conflist", theirs);
      unlinkSync(host.path("10.conf"));
    });
    host.assert(undefined, upgraded);
    expect(host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
    expect(host.get("10.conflist")).toContain("10.9.0.0");
    host.uninstall();
    expect(host.texts()).toEqual({ "10.conflist": theirs });
  });

  test("while we uninstall", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    await host.install();
    const disk = interrupted("exchange", 1, true, () =>
      writeFileSync(host.path("10.conflist"), theirs.replace("\n  ]", ', { "type": "wg-cni" }\n  ]')),
    );
    host.uninstall(false, disk);
    expect(host.texts()).toEqual({ "10.conflist": theirs });
  });

  test("who never stops is given up on, with a sentence", async () => {
    using host = new Host();
    host.plugins("ptp", "wg-cni");
    host.put("10.conflist", ptpList);
    let writes = 0;
    const restless: Disk = {
      ...disk,
      exchange: (a, b) => {
        if (++writes % 2 === 1) host.put("10.conflist", `${ptpList}${" ".repeat(writes)}`);
        return disk.exchange(a, b);
      },
    };
    expect(host.assert(undefined, restless)).toEqual({ waitsFor: "Another program keeps rewriting it" });
    await host.install();
    expect(() =>
      host.uninstall(false, {
        ...restless,
        exchange: (a, b) => {
          if (++writes % 2 === 1) host.put("10.conflist", `${host.get("10.conflist")} `);
          return disk.exchange(a, b);
        },
      }),
    ).toThrow("Another program keeps rewriting the network configurations in");
  });
});
