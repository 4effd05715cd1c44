// The installer waits for a network that is absent, incomplete or unsuitable, and then names it; it makes
// a network of its own; and it reports objects that it cannot remove.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { disk } from "../../src/install/disk.ts";
import { Host, ptpConf, ptpList } from "./host.ts";

setDefaultTimeout(30_000);

const standalone = { type: "wg-cni", ipam: {} };

describe("a network that cannot be followed", () => {
  const rows: readonly [name: string, file: string, text: string | Buffer, says: string][] = [
    ["empty", "10.conflist", "", "10.conflist cannot be used: it is empty"],
    ["half-written", "10.conflist", ptpList.slice(0, 90), "it is not JSON, or not wholly written yet"],
    [
      "a byte order mark",
      "10.conflist",
      `\ufeff${ptpList}`,
      "it begins with a byte order mark, which no runtime takes",
    ],
    ["UTF-16", "10.conflist", Buffer.from(ptpList, "utf16le"), "it is not JSON"],
    ["no object", "10.conflist", "[]", "it is not a JSON object"],
    ["no name", "10.conflist", ptpList.replace('"pods"', '""'), "it has no network name"],
    ["no plugins", "10.conflist", '{"name": "pods"}', 'it has no "plugins" to follow'],
    [
      "plugins in a directory",
      "10.conflist",
      '{"name": "pods", "plugins": null}',
      'its "plugins" is not a list',
    ],
    ["an empty list", "10.conflist", '{"name": "pods", "plugins": []}', 'its "plugins" is empty'],
    [
      "a plugin without type",
      "10.conflist",
      '{"name": "pods", "plugins": [{}]}',
      'one of its plugins has no "type"',
    ],
    [
      "a list as .conf",
      "10.conf",
      ptpList,
      'it is not one plugin, since it has no "type", but a list: its name must end in .conflist',
    ],
    ["a single plugin as .conflist", "10.conflist", ptpConf, 'it has no "plugins" to follow'],
    [
      "a version to come",
      "10.conflist",
      ptpList.replace("1.0.0", "2.0.0"),
      "its cniVersion 2.0.0 is not known to this wg-cni, whose newest is 1.1.0",
    ],
    [
      "only ours, without ipam",
      "10.conflist",
      '{"name": "pods", "plugins": [{"type": "wg-cni"}]}',
      'it has only wg-cni, and no "ipam" for it: nothing makes the interfaces',
    ],
    [
      "a plugin that is elsewhere",
      "10.conflist",
      ptpList.replace('"ptp"', '"azure-vnet"'),
      "its plugin azure-vnet is not in the directory of plugins",
    ],
    [
      "a type that is a path",
      "10.conflist",
      ptpList.replace('"ptp"', '"../bin/ptp"'),
      "its plugin ../bin/ptp is not in the directory of plugins",
    ],
  ];

  test.each(rows)("%s", async (_, file, text, says) => {
    using host = new Host();
    host.plugins("ptp");
    host.put(file, text);
    // A runtime does not pass over the first one, so neither do we.
    host.put("99.conflist", ptpList);
    const before = host.texts();
    await expect(host.install()).rejects.toThrow(says);
    await expect(host.install()).rejects.toThrow(
      "The plugin is in place, and no network calls it: run this again, or with a longer --wait.",
    );
    expect(host.texts()).toEqual(before);
    expect(existsSync(host.plugin)).toBe(true);
  });

  test("of versions that it may have, one that we know is enough", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList.replace('"1.0.0"', '"1.0.0", "cniVersions": ["1.0.0", "9.0.0"]'));
    expect((await host.install()).network.wrote).toBe(true);
  });

  test("a pipe is not waited for, a file beyond all bounds not read", async () => {
    using host = new Host();
    host.plugins("ptp");
    expect(Bun.spawnSync(["mkfifo", host.path("10.conflist")]).exitCode).toBe(0);
    await expect(host.install()).rejects.toThrow("10.conflist is no regular file");
    rmSync(host.path("10.conflist"));
    host.put("10.conflist", `${ptpList}${" ".repeat(1024 * 1024)}`);
    await expect(host.install()).rejects.toThrow("10.conflist is larger than 1.0 MiB");
  });

  test("a link to nowhere", async () => {
    using host = new Host();
    symlinkSync("nowhere", host.path("10.conflist"));
    await expect(host.install()).rejects.toThrow(/10\.conflist cannot be used: Cannot read .*ENOENT/);
  });
});

describe("waiting", () => {
  test("for the directory, then for the file, then for the rest of it; each is logged once", async () => {
    using host = new Host();
    host.plugins("ptp");
    rmSync(host.confDir, { recursive: true });
    const installing = host.install(undefined, 30_000);
    const said = async (text: string) => {
      for (let i = 0; i < 500 && !host.said.some((sentence) => sentence.includes(text)); i++)
        await Bun.sleep(20);
      expect(host.said.at(-1)).toContain(text);
    };
    await said("There is no such directory of network configurations");
    mkdirSync(host.confDir);
    await said("There is no network configuration yet");
    host.put("10.conflist", ptpList.slice(0, 100));
    await said("not wholly written yet");
    host.put("10.conflist", ptpList);
    expect((await installing).network).toEqual({
      file: "10.conflist",
      types: ["ptp", "wg-cni"],
      wrote: true,
    });
    expect(host.said).toHaveLength(3);
  });

  test("ends with what was waited for", async () => {
    using host = new Host();
    const start = performance.now();
    await expect(host.install(undefined, 600)).rejects.toThrow(
      /^There is no network configuration yet \(.*net\.d\)/,
    );
    expect(performance.now() - start).toBeGreaterThanOrEqual(600);
    expect(host.said).toHaveLength(1);
  });
});

describe("the executable", () => {
  test("is exchanged if it differs, by rename: processes that run the old one keep it", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    await host.install();
    expect(statSync(host.plugin).mode & 0o7777).toBe(0o755);
    const { ino } = statSync(host.plugin);
    expect((await host.install()).binary.wrote).toBe(false);
    expect(statSync(host.plugin).ino).toBe(ino);
    host.release("v2");
    expect((await host.install()).binary).toEqual({ path: host.plugin, wrote: true });
    expect(statSync(host.plugin).ino).not.toBe(ino);
    expect(readFileSync(host.plugin, "utf8")).toContain("v2");
  });

  test("of the same size but another content, or not executable, is exchanged", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    writeFileSync(host.source, Buffer.alloc(3 * 1024 * 1024 + 5, 1));
    await host.install();
    writeFileSync(host.source, Buffer.concat([Buffer.alloc(3 * 1024 * 1024 + 4, 1), Buffer.from([2])]));
    expect((await host.install()).binary.wrote).toBe(true);
    chmodSync(host.plugin, 0o644);
    expect((await host.install()).binary.wrote).toBe(true);
    expect((await host.install()).binary.wrote).toBe(false);
  });

  test("may be the one that is there already", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    writeFileSync(host.plugin, readFileSync(host.source), { mode: 0o755 });
    rmSync(host.source);
    symlinkSync(host.plugin, host.source);
    expect((await host.install()).binary.wrote).toBe(false);
  });

  test("sentences for what is missing, and no network changes", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    rmSync(host.source);
    await expect(host.install()).rejects.toThrow(
      /^Cannot compare .*wg-cni-new with .*: ENOENT \(No such file or directory\)/,
    );
    rmSync(host.binDir, { recursive: true });
    await expect(host.install()).rejects.toThrow(
      `There is no directory ${host.binDir}: name the one that the runtime takes plugins from with --bin-dir`,
    );
    expect(host.texts()).toEqual({ "10.conflist": ptpList });
  });

  test("a directory in its place, and a disk that refuses, are said with the path and a remedy", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    mkdirSync(host.plugin);
    await expect(host.install()).rejects.toThrow(/^Cannot rename .* to .*\/bin\/wg-cni: EISDIR/);
    expect(host.texts()).toEqual({ "10.conflist": ptpList });
  });
});

describe("a network of our own", () => {
  test("is written if there is none, kept, and removed with us", async () => {
    using host = new Host();
    expect((await host.install(standalone)).network).toEqual({
      file: "10-wg-cni.conflist",
      types: ["wg-cni"],
      wrote: true,
    });
    expect(JSON.parse(host.get("10-wg-cni.conflist"))).toEqual({
      cniVersion: "1.0.0",
      name: "wg-cni",
      plugins: [standalone],
    });
    const before = host.stamps();
    expect((await host.install(standalone)).network.wrote).toBe(false);
    // Without a word about it, the network is followed as it is: by nobody else.
    expect((await host.install()).network).toEqual({
      file: "10-wg-cni.conflist",
      types: ["wg-cni"],
      wrote: false,
    });
    expect(host.stamps()).toEqual(before);
    await host.install({ ...standalone, mtu: 1400 });
    expect(JSON.parse(host.get("10-wg-cni.conflist")).plugins).toEqual([{ ...standalone, mtu: 1400 }]);
    expect(host.uninstall().networks).toMatchObject([{ do: "remove" }]);
    expect(host.texts()).toEqual({});
  });

  test("comes before another that sorts behind it, and gives way to it again", async () => {
    using host = new Host();
    host.put("87-podman-bridge.conflist", ptpList);
    await host.install(standalone);
    expect(Object.keys(host.texts())).toEqual(["10-wg-cni.conflist", "87-podman-bridge.conflist"]);
    host.uninstall();
    expect(host.texts()).toEqual({ "87-podman-bridge.conflist": ptpList });
  });

  test("is not written if another one would be used", async () => {
    using host = new Host();
    host.put("05-cilium.conflist", ptpList);
    await expect(host.install(standalone)).rejects.toThrow(
      "05-cilium.conflist comes before 10-wg-cni.conflist, so the runtime would use that: remove it",
    );
    expect(host.texts()).toEqual({ "05-cilium.conflist": ptpList });
  });

  test("that was written by hand is kept, with other values if some are given, and put aside at the end", async () => {
    using host = new Host();
    const byHand = JSON.stringify({
      name: "own",
      plugins: [{ type: "wg-cni", ipam: {} }, { type: "portmap" }],
    });
    host.put("10-pods.conflist", byHand);
    expect((await host.install(standalone)).network).toEqual({
      file: "10-pods.conflist",
      types: ["wg-cni", "portmap"],
      wrote: false,
    });
    await host.install({ ...standalone, mtu: 1400 });
    expect(host.get("10-pods.conflist")).toBe(byHand.replace('"ipam":{}', '"ipam":{},"mtu":1400'));
    expect(host.uninstall().networks).toMatchObject([{ do: "disable" }]);
    expect(Object.keys(host.texts())).toEqual(["10-pods.conflist.disabled-by-wg-cni"]);
  });

  test("something else of its name is left alone", async () => {
    using host = new Host();
    host.put("10-wg-cni.conflist", ptpList);
    await expect(host.install(standalone)).rejects.toThrow(
      "10-wg-cni.conflist is there and is not from wg-cni",
    );
    host.put("10-wg-cni.conflist", "{");
    await expect(host.install(standalone)).rejects.toThrow(
      "10-wg-cni.conflist is there and is not from wg-cni",
    );
  });
});

describe("uninstalling", () => {
  test("what was never installed changes nothing", () => {
    using host = new Host();
    host.put("10.conflist", ptpList);
    host.put("20.conf", "garbage");
    expect(host.uninstall()).toEqual({ networks: [], binary: "absent" });
    rmSync(host.confDir, { recursive: true });
    rmSync(host.binDir, { recursive: true });
    expect(host.uninstall()).toEqual({ networks: [], binary: "absent" });
  });

  test("may be repeated, and followed by another install", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    for (let i = 0; i < 3; i++) {
      await host.install();
      expect(host.types("10.conflist")).toEqual(["ptp", "wg-cni"]);
      host.uninstall();
      host.uninstall();
      expect(host.texts()).toEqual({ "10.conflist": ptpList });
    }
  });

  test("takes us out of all networks, used or not; keeps the executable if told", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    await host.install();
    host.put("90.conflist", host.get("10.conflist"));
    host.put("95.conf", '{"name": "x", "type": "wg-cni", "ipam": {}}');
    expect(host.uninstall(true).binary).toBe("kept");
    expect(host.texts()).toEqual({
      "10.conflist": ptpList,
      "90.conflist": ptpList,
      "95.conf.disabled-by-wg-cni": '{"name": "x", "type": "wg-cni", "ipam": {}}',
    });
    expect(existsSync(host.plugin)).toBe(true);
    expect(host.uninstall().binary).toBe("removed");
  });

  test("a network that may name us and cannot be read keeps the executable, and says so", async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    await host.install();
    host.put("20.conflist", host.get("10.conflist").slice(0, -10));
    host.put("30.conflist", ptpList.slice(0, -10));
    expect(() => host.uninstall()).toThrow(
      /^20\.conflist may name wg-cni and cannot be used: it is not JSON.*\. The plugin stays until no network in .* can name it/,
    );
    expect(host.get("10.conflist")).toBe(ptpList);
    expect(existsSync(host.plugin)).toBe(true);
    rmSync(host.path("20.conflist"));
    expect(host.uninstall().binary).toBe("removed");
  });
});

test.skipIf(process.getuid?.() !== 0)(
  "a directory that refuses to be written is a sentence with a remedy",
  async () => {
    using host = new Host();
    host.plugins("ptp");
    host.put("10.conflist", ptpList);
    // Not even root may write here.
    const mount = `mount --bind ${host.confDir} ${host.confDir} && mount -o remount,ro,bind ${host.confDir}`;
    const program = `
    import { disk } from ${JSON.stringify(`${import.meta.dir}/../../src/install/disk.ts`)};
    import { ensureConfList } from ${JSON.stringify(`${import.meta.dir}/../../src/install/install.ts`)};
    const target = ${JSON.stringify(host.target())};
    const say = (inside) => { try { console.log(inside()); } catch (error) { console.log(error.name, error.message); } };
    say(() => ensureConfList(disk, target));`;
    disk.copy(host.source, host.plugin);
    writeFileSync(`${host.root}/program.ts`, program);
    const done = Bun.spawnSync([
      "unshare",
      "--mount",
      "sh",
      "-c",
      `${mount} && exec ${process.execPath} ${host.root}/program.ts`,
    ]);
    expect(done.stderr.toString()).toBe("");
    expect(done.stdout.toString()).toMatch(
      /^InstallError Cannot write .*net\.d\/\.10\.conflist\.wg-cni-unfinished: EROFS \(Read-only file system\)\. Its filesystem is mounted read-only: mount it writable/,
    );
  },
);
