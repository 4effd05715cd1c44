// Installed on real files beside what each CNI writes: once, again, after the
// owner has rewritten it, and taken back to the byte.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { Host, ptpConf, ptpList, samples } from "./host.ts";

setDefaultTimeout(30_000);

describe.each(samples)("$cni", (sample) => {
  const { file, text, types } = sample;

  test("gets our entry last, keeps all else, and is as it was in the end", async () => {
    using host = new Host();
    host.prepare(sample);
    chmodSync(host.path(file), 0o600);
    const installed = await host.install();
    expect(installed.network).toEqual({ file, types: [...types, "wg-cni"], wrote: true });
    const before = JSON.parse(text);
    expect(JSON.parse(host.get(file))).toEqual({
      ...before,
      plugins: [...before.plugins, { type: "wg-cni" }],
    });
    // Nothing but the entry and its comma is new.
    const [start, end] = [text.lastIndexOf("}", text.lastIndexOf("]")) + 1, text.length];
    expect(host.get(file).startsWith(text.slice(0, start))).toBe(true);
    expect(host.get(file).endsWith(text.slice(start, end))).toBe(true);
    expect(statSync(host.path(file)).mode & 0o7777).toBe(0o600);
    expect(host.uninstall()).toMatchObject({ binary: "removed", networks: [{ do: "write", file }] });
    expect(host.texts()).toEqual({ [file]: text });
    expect(statSync(host.path(file)).mode & 0o7777).toBe(0o600);
    expect(existsSync(host.plugin)).toBe(false);
  });

  test("installed again, nothing is written", async () => {
    using host = new Host();
    host.prepare(sample);
    await host.install();
    const before = host.stamps();
    const again = await host.install();
    expect([again.binary.wrote, again.network.wrote]).toEqual([false, false]);
    expect(host.stamps()).toEqual(before);
  });

  test("rewritten by its owner, in place or by rename, it is put in again, and goes again", async () => {
    using host = new Host();
    host.prepare(sample);
    await host.install();
    const chained = host.get(file);
    for (const rewrite of [
      () => writeFileSync(host.path(file), text),
      () => {
        writeFileSync(host.path("tmp"), text);
        renameSync(host.path("tmp"), host.path(file));
      },
    ]) {
      rewrite();
      expect(host.assert()).toEqual({ file, types: [...types, "wg-cni"], wrote: true });
      expect(host.get(file)).toBe(chained);
    }
    host.uninstall();
    expect(host.texts()).toEqual({ [file]: text });
  });
});

describe("a single plugin", () => {
  test.each(["10-ptp.conf", "10-ptp.json"])("%s becomes a list, and itself again", async (file) => {
    using host = new Host();
    host.plugins("ptp");
    host.put(file, ptpConf, 0o640);
    chownSync(host.path(file), 7, 8);
    utimesSync(host.path(file), 1000, 1000);
    const { ino } = statSync(host.path(file));
    expect((await host.install()).network).toEqual({
      file: "10-ptp.conflist",
      types: ["ptp", "wg-cni"],
      wrote: true,
    });
    expect(JSON.parse(host.get("10-ptp.conflist"))).toEqual({
      cniVersion: "0.3.1",
      name: "pods",
      plugins: [JSON.parse(ptpConf), { type: "wg-cni" }],
    });
    expect(host.get("10-ptp.conflist")).toBe(`{
  "cniVersion": "0.3.1",
  "name": "pods",
  "plugins": [
    {
      "cniVersion": "0.3.1",
      "name": "pods",
      "type": "ptp",
      "ipam": { "type": "host-local", "subnet": "10.1.0.0/24" }
    },
    { "type": "wg-cni" }
  ]
}
`);
    const list = statSync(host.path("10-ptp.conflist"));
    expect([list.mode & 0o7777, list.uid, list.gid]).toEqual([0o640, 7, 8]);
    expect(Object.keys(host.texts())).toEqual([`.${file}.before-wg-cni`, "10-ptp.conflist"]);
    const before = host.stamps();
    expect((await host.install()).network.wrote).toBe(false);
    expect(host.stamps()).toEqual(before);
    expect(host.uninstall().networks).toMatchObject([
      { do: "restore", single: file, list: "10-ptp.conflist" },
    ]);
    expect(host.texts()).toEqual({ [file]: ptpConf });
    const { ino: now, mode, uid, gid, mtimeMs } = statSync(host.path(file));
    expect([now, mode & 0o7777, uid, gid, mtimeMs]).toEqual([ino, 0o640, 7, 8, 1_000_000]);
  });

  test.each(["10-ptp.conf", "10-ptp.json"])(
    "%s whose owner writes it anew is taken from there, now and at the end",
    async (file) => {
      using host = new Host();
      host.plugins("ptp");
      host.put(file, ptpConf);
      await host.install();
      const changed = ptpConf.replace("10.1.0.0", "10.2.0.0");
      host.put(file, changed);
      expect(host.assert()).toMatchObject({ file: "10-ptp.conflist", wrote: true });
      expect(host.get("10-ptp.conflist")).toContain("10.2.0.0");
      expect(host.get("10-ptp.conflist")).not.toContain("10.1.0.0");
      host.uninstall();
      expect(host.texts()).toEqual({ [file]: changed });
    },
  );

  test("that is back before we look stays its owner's, and our list goes", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10-ptp.conf", ptpConf);
    await host.install();
    const changed = ptpConf.replace("10.1.0.0", "10.2.0.0");
    host.put("10-ptp.conf", changed);
    host.uninstall();
    expect(host.texts()).toEqual({ "10-ptp.conf": changed });
  });

  test("whose list another process has extended stays a list, without us", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10-ptp.conf", ptpConf);
    await host.install();
    const list = JSON.parse(host.get("10-ptp.conflist"));
    list.plugins.push({ type: "tuning" });
    host.put("10-ptp.conflist", JSON.stringify(list));
    host.uninstall();
    expect(Object.keys(host.texts())).toEqual(["10-ptp.conflist"]);
    expect(host.types("10-ptp.conflist")).toEqual(["ptp", "tuning"]);
  });

  test("whose list is gone does not come back: its CNI may be gone too", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10-ptp.conf", ptpConf);
    await host.install();
    unlinkSync(host.path("10-ptp.conflist"));
    host.uninstall();
    expect(host.texts()).toEqual({});
  });

  test("beside a list of the same name that is not ours is refused, and nothing changes", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10-ptp.conf", ptpConf);
    host.put("10-ptp.conflist", ptpList);
    await expect(host.install()).rejects.toThrow(
      "10-ptp.conf cannot be used: it would have to become 10-ptp.conflist, which is there already and not from wg-cni: remove one of the two",
    );
    expect(host.texts()).toEqual({ "10-ptp.conf": ptpConf, "10-ptp.conflist": ptpList });
  });
});

describe("texts with oddities", () => {
  const odd: readonly [name: string, text: string][] = [
    ["CRLF", ptpList.replaceAll("\n", "\r\n")],
    ["no line break at the end", ptpList.trimEnd()],
    ["spaces around everything", `\n\n  ${ptpList}  \n\t`],
    ["minified", JSON.stringify(JSON.parse(ptpList))],
    ["a key twice", ptpList.replace('"name": "pods",', '"name": "first", "name": "pods",')],
    [
      "plugins twice: the last counts",
      ptpList.replace('"plugins": [', '"plugins": [{"type": "x"}],\n  "plugins": ['),
    ],
    ["a number beyond a double", ptpList.replace('"ptp",', '"ptp", "id": 18446744073709551615, "e": 1e999,')],
    ["unknown keys", ptpList.replace('"name"', '"x-kept": [true, null, {"plugins": []}], "name"')],
    ["brackets and quotes in strings", ptpList.replace('"ptp",', '"ptp", "s": "]}\\"[{, \\\\",')],
    ["UTF-8", ptpList.replace('"ptp",', '"ptp", "comment": "Übergrößenträger 🙂",')],
    ["a plugin on the line of the bracket", ptpList.replace("[\n    {", "[ {")],
    ["escaped key", ptpList.replace('"plugins"', '"pl\\u0075gins"')],
  ];

  test.each(odd)("%s", async (_, text) => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", text);
    await host.install();
    const before = JSON.parse(text);
    expect(JSON.parse(host.get("10.conflist"))).toEqual({
      ...before,
      plugins: [...before.plugins, { type: "wg-cni" }],
    });
    expect(host.get("10.conflist").length).toBeLessThan(text.length + 40);
    host.uninstall();
    expect(host.get("10.conflist")).toBe(text);
  });

  test("bytes that are no UTF-8 pass through", async () => {
    using host = new Host();
    host.plugins("ptp");
    const bytes = Buffer.from(ptpList.replace('"ptp",', '"ptp", "comment": "\xff\xfe\x80",'), "latin1");
    host.put("10.conflist", bytes);
    await host.install();
    expect(readFileSync(host.path("10.conflist")).includes(Buffer.from("\xff\xfe\x80", "latin1"))).toBe(true);
    host.uninstall();
    expect(readFileSync(host.path("10.conflist")).equals(bytes)).toBe(true);
  });

  test("the same for a single plugin", async () => {
    for (const text of [
      ptpConf.replaceAll("\n", "\r\n"),
      JSON.stringify(JSON.parse(ptpConf)),
      ` ${ptpConf}`,
    ]) {
      using host = new Host();
      host.plugins("ptp");
      host.put("10.conf", text);
      await host.install();
      expect(JSON.parse(host.get("10.conflist")).plugins[0]).toEqual(JSON.parse(text));
      host.uninstall();
      expect(host.texts()).toEqual({ "10.conf": text });
    }
  });

  test("a link stays one: what it leads to is changed", async () => {
    using host = new Host();
    host.plugins("ptp");
    mkdirSync(`${host.root}/elsewhere`);
    writeFileSync(`${host.root}/elsewhere/real`, ptpList);
    symlinkSync("../elsewhere/real", host.path("10.conflist"));
    await host.install();
    expect(host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
    host.uninstall();
    expect(readFileSync(`${host.root}/elsewhere/real`, "utf8")).toBe(ptpList);
    expect(readFileSync(host.path("10.conflist"), "utf8")).toBe(ptpList);
  });
});

describe("entries that are there already", () => {
  const withOwn = (...plugins: readonly object[]) =>
    JSON.stringify({ cniVersion: "1.0.0", name: "pods", plugins }, null, 2);
  const [ptp, tuning, own] = [{ type: "ptp" }, { type: "tuning" }, { type: "wg-cni" }];

  const rows: readonly [name: string, before: readonly object[], after: readonly object[]][] = [
    ["ours in the middle may stay there", [ptp, own, tuning], [ptp, own, tuning]],
    ["ours with values of a person stays", [ptp, { ...own, mtu: 1400 }], [ptp, { ...own, mtu: 1400 }]],
    ["ours twice becomes once", [ptp, own, tuning, own], [ptp, tuning, own]],
    ["ours before the main plugin moves behind", [own, ptp], [ptp, own]],
    ["ours before all, and again", [own, own, ptp, own], [ptp, own]],
    ["with ipam behind another it could not work", [ptp, { ...own, ipam: {} }], [ptp, own]],
  ];

  test.each(rows)("%s", async (_, before, after) => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", withOwn(...before));
    const { network } = await host.install();
    expect(JSON.parse(host.get("10.conflist")).plugins).toEqual(after);
    expect(network.wrote).toBe(JSON.stringify(before) !== JSON.stringify(after));
    host.uninstall();
    expect(JSON.parse(host.get("10.conflist")).plugins).toEqual(
      after.filter((one) => !("type" in one && one.type === "wg-cni")),
    );
  });

  test("values that are given replace those that are there, once", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    await host.install({ type: "wg-cni", mtu: 1400, stateDir: "/Zustände" });
    expect(host.get("10.conflist")).toContain(
      '{ "type": "wg-cni", "mtu": 1400, "stateDir": "/Zust\\u00e4nde" }',
    );
    const again = await host.install({ type: "wg-cni", stateDir: "/Zustände", mtu: 1400 });
    expect(again.network.wrote).toBe(false);
    expect((await host.install()).network.wrote).toBe(false);
    await host.install({ type: "wg-cni" });
    expect(JSON.parse(host.get("10.conflist")).plugins[1]).toEqual({ type: "wg-cni" });
    host.uninstall();
    expect(host.get("10.conflist")).toBe(ptpList);
  });

  test("beside another program that chains itself, which goes before, behind or reformats", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    await host.install();
    const list = JSON.parse(host.get("10.conflist"));
    list.plugins.push({ type: "istio-cni" });
    host.put("10.conflist", JSON.stringify(list, null, "\t"));
    const before = host.stamps();
    expect((await host.install()).network).toMatchObject({
      types: ["ptp", "wg-cni", "istio-cni"],
      wrote: false,
    });
    expect(host.stamps()).toEqual(before);
    host.uninstall();
    expect(host.types("10.conflist")).toEqual(["ptp", "istio-cni"]);
  });
});

describe("which network", () => {
  test("the first by name as runtimes sort, hidden ones and .json too; the rest stay untouched", async () => {
    for (const [first, second] of [
      ["10-a.conflist", "10-b.conflist"],
      ["10-a.conflist", "9.conflist"],
      [".10.conflist", "00.conflist"],
      ["10-Z.conflist", "10-a.conflist"],
    ] as const) {
      using host = new Host();
      host.plugins("ptp");
      host.put(second, ptpList);
      host.put(first, ptpList);
      host.put("00-readme.txt", "not a network");
      mkdirSync(host.path("00-directory.conf"));
      expect((await host.install()).network.file).toBe(first);
      expect(host.get(second)).toBe(ptpList);
      host.uninstall();
      expect(host.get(first)).toBe(ptpList);
      expect(existsSync(host.path("00-directory.conf"))).toBe(true);
    }
  });

  test("another one comes into use: it is followed, and both are as before at the end", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    await host.install();
    host.put("05.conf", ptpConf);
    expect(host.assert()).toMatchObject({ file: "05.conflist", wrote: true });
    host.uninstall();
    expect(host.texts()).toEqual({ "05.conf": ptpConf, "10.conflist": ptpList });
  });
});
