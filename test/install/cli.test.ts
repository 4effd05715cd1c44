// `wg-cni install` and `uninstall` as they are typed: what they print, which
// words they refuse, and what they leave for the agent.
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { findTarget } from "../../src/install/target.ts";
import { readSettings } from "../../src/reconcile/node-reader.ts";
import { Store } from "../../src/state/store.ts";
import { run } from "../cli/terminal.ts";
import { Host, ptpConf, ptpList } from "./host.ts";

setDefaultTimeout(30_000);

class Typed extends Host {
  readonly stateDir = `${this.root}/state`;

  get directories(): string[] {
    return ["--bin-dir", this.binDir, "--conf-dir", this.confDir, "--state-dir", this.stateDir];
  }

  /** With the directories of this host spelled so that every run prints the same. */
  async wg(...words: readonly string[]) {
    const { exitCode, stdout, stderr } = await run(words);
    return { exitCode, stdout: stdout.replaceAll(this.root, ""), stderr: stderr.replaceAll(this.root, "") };
  }

  installs(...words: readonly string[]) {
    return this.wg("install", ...this.directories, "--source-binary", this.source, ...words);
  }

  uninstalls(...words: readonly string[]) {
    return this.wg("uninstall", ...this.directories, ...words);
  }

  /** The target that the agent would maintain. */
  get kept() {
    using store = Store.open(this.stateDir, "boot");
    return findTarget(readSettings(store));
  }
}

const opened: Typed[] = [];
afterEach(() => {
  for (const host of opened.splice(0)) host[Symbol.dispose]();
});

function typed(): Typed {
  const host = new Typed();
  opened.push(host);
  host.plugins("ptp");
  return host;
}

test("says what was written and what was so already; and the same as JSON", async () => {
  const host = typed();
  host.put("10-ptp.conflist", ptpList);
  expect(await host.installs()).toEqual({
    exitCode: 0,
    stderr: "",
    stdout: `wg-cni is installed
  ✓ /bin/wg-cni (written, and read into memory)
  ✓ /net.d/10-ptp.conflist: ptp, wg-cni (written)
`,
  });
  expect((await host.installs()).stdout).toBe(`wg-cni is installed
  ✓ /bin/wg-cni (as it was)
  ✓ /net.d/10-ptp.conflist: ptp, wg-cni (as it was)
`);
  expect(JSON.parse((await host.installs("--json")).stdout)).toEqual({
    binary: { path: "/bin/wg-cni", wrote: false },
    network: { path: "/net.d/10-ptp.conflist", plugins: ["ptp", "wg-cni"], wrote: false },
    kept: false,
  });
  // Nothing was asked of the agent, so there is no state either.
  expect(existsSync(host.stateDir)).toBe(false);
  expect(await host.uninstalls()).toEqual({
    exitCode: 0,
    stderr: "",
    stdout: `wg-cni is uninstalled
  ✓ /net.d/10-ptp.conflist: without wg-cni
  ✓ /bin/wg-cni: removed
`,
  });
  expect(await host.uninstalls()).toMatchObject({ exitCode: 0, stdout: "wg-cni was not installed here\n" });
  expect(JSON.parse((await host.uninstalls("--json")).stdout)).toEqual({
    confDir: "/net.d",
    networks: [],
    binary: "absent",
    warnings: [],
  });
  expect(host.texts()).toEqual({ "10-ptp.conflist": ptpList });
});

test("a single plugin, and one that wg-cni makes itself", async () => {
  const host = typed();
  host.put("10-ptp.conf", ptpConf);
  expect((await host.installs()).stdout).toContain("✓ /net.d/10-ptp.conflist: ptp, wg-cni (written)");
  expect((await host.uninstalls()).stdout).toContain(
    "✓ /net.d/10-ptp.conf: back in the place of 10-ptp.conflist",
  );
  const other = typed();
  expect((await other.installs("--standalone", "--conf-json", '{"mtu": 1400}')).stdout).toContain(
    "✓ /net.d/10-wg-cni.conflist: wg-cni (written)",
  );
  expect(JSON.parse(other.get("10-wg-cni.conflist")).plugins).toEqual([
    { type: "wg-cni", mtu: 1400, ipam: {} },
  ]);
  expect((await other.uninstalls()).stdout).toContain("✓ /net.d/10-wg-cni.conflist: removed");
});

test("waits, says for what, and ends with a sentence", async () => {
  const host = typed();
  expect(await host.installs("--wait", "1s")).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: `Waiting for a network to follow: There is no network configuration yet (/net.d)
wg-cni: There is no network configuration yet (/net.d). The plugin is in place, and no network calls it: run this again, or with a longer --wait.
`,
  });
  const none = await host.installs("--wait", "off", "--json");
  expect(none).toMatchObject({ exitCode: 1, stderr: "" });
  expect(JSON.parse(none.stdout)).toEqual({
    error: expect.stringContaining("There is no network configuration yet"),
  });
});

const complaints: readonly [words: readonly string[], says: RegExp][] = [
  [["--bin-dir", "bin"], /--bin-dir: "bin" must be an absolute path/],
  [["--wait", "soon"], /--wait: "soon" must be a time of at least 1s/],
  [["--conf-json", "{"], /--conf-json: "\{" must be JSON/],
  [["--conf-json", "[]"], /must be a JSON object, for example \{"mtu": 1400\}/],
  [["--conf-json", '{"type": "ptp"}'], /must be of type wg-cni, or without a type/],
  [["--conf-json", '{"name": "x"}'], /must be without "name", which is the network's/],
  [["--conf-json", '{"mtu": 100}'], /must have an "mtu" from 576 to 65535, or none/],
  [["--conf-json", '{"stateDir": "x"}'], /must have an absolute path as "stateDir", or none/],
  [["--conf-json", '{"ipam": []}'], /must have an object as "ipam", or none/],
  [["--conf-json", '{"ipam": {}}'], /with "ipam" wg-cni makes the interfaces itself: give --standalone too/],
  [["--standalon"], /did you mean --standalone\?/],
];

test.each(complaints)("install %j", async (words, says) => {
  const host = typed();
  host.put("10-ptp.conflist", ptpList);
  const directories = words.includes("--bin-dir") ? ["--conf-dir", host.confDir] : host.directories;
  const { exitCode, stderr } = await host.wg(
    "install",
    ...directories,
    "--source-binary",
    host.source,
    ...words,
  );
  expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringMatching(says) });
  expect(host.texts()).toEqual({ "10-ptp.conflist": ptpList });
  expect(existsSync(host.plugin)).toBe(false);
});

test("--keep has the agent keep it; uninstall finds the directories by it, and ends it", async () => {
  const host = typed();
  host.put("10-ptp.conflist", ptpList);
  expect((await host.installs("--keep", "--conf-json", '{"mtu": 1400}')).stdout).toContain(
    "✓ the agent keeps it so",
  );
  const { binDir, confDir } = host;
  expect(host.kept).toEqual({ binDir, confDir, entry: { type: "wg-cni", mtu: 1400 } });
  // Values that are not typed again stay as they were.
  writeFileSync(host.path("10-ptp.conflist"), ptpList);
  const again = await host.wg("install", "--state-dir", host.stateDir, "--source-binary", host.source);
  expect(again.stdout).toContain("✓ /net.d/10-ptp.conflist: ptp, wg-cni (written)");
  expect(JSON.parse(host.get("10-ptp.conflist")).plugins[1]).toEqual({ type: "wg-cni", mtu: 1400 });
  const gone = await host.wg("uninstall", "--state-dir", host.stateDir);
  expect(gone.stdout).toContain("✓ /bin/wg-cni: removed");
  expect(host.kept).toBeUndefined();
  expect(host.texts()).toEqual({ "10-ptp.conflist": ptpList });
});

test("an uninstall that cannot be done leaves the agent as it was", async () => {
  const host = typed();
  host.put("10-ptp.conflist", ptpList);
  await host.installs("--keep");
  host.put("20.conflist", '{"plugins": [{"type": "wg-cni"');
  const { exitCode, stderr } = await host.uninstalls();
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(
    /^wg-cni: 20\.conflist may name wg-cni and cannot be used: .* The plugin stays until/,
  );
  expect(host.kept).toMatchObject({ confDir: host.confDir });
});

test("a state that cannot be read does not prevent uninstalling", async () => {
  const host = typed();
  host.put("10-ptp.conflist", ptpList);
  await host.installs();
  mkdirSync(host.stateDir);
  writeFileSync(`${host.stateDir}/state.db`, "not a database at all, but long enough to look like one");
  const { exitCode, stdout } = await host.uninstalls();
  expect(exitCode).toBe(0);
  expect(stdout).toContain(
    "! an agent that keeps wg-cni installed could not be told: Cannot use the state in",
  );
  expect(readFileSync(host.path("10-ptp.conflist"), "utf8")).toBe(ptpList);
});
