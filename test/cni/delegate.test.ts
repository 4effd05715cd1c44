// Delegates: Debian's host-local for what succeeds, small scripts for what fails.
import { afterAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { delegateAdd, runDelegate } from "../../src/cni/delegate.ts";
import { CniError } from "../../src/cni/error.ts";
import { podIps } from "../../src/cni/result.ts";
import { supportedVersions, versionAtLeast } from "../../src/net/cni-version.ts";
import { fullEnv, requestOf } from "./io.ts";
import { referencePlugin } from "./reference.ts";

const directory = mkdtempSync(join(tmpdir(), "wgt-delegate-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function plugin(name: string, script: string): void {
  writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

function request(type: string, env: Record<string, string> = {}, more: object = {}) {
  const conf = { cniVersion: "1.0.0", name: "n", type: "wg-cni", ipam: { type, ...more } };
  return requestOf(
    fullEnv("ADD", { CNI_PATH: `/nowhere:${directory}`, PATH: process.env.PATH, ...env }),
    conf,
  );
}

function errorOf(run: () => unknown): { code: number; msg: string; details?: string | undefined } {
  try {
    run();
  } catch (error) {
    if (error instanceof CniError) return { code: error.code, msg: error.message, details: error.details };
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("with host-local", () => {
  for (const cniVersion of supportedVersions.filter((version) => version !== "1.1.0"))
    referencePlugin(
      `${cniVersion}: ADD gives addresses, CHECK finds them where there is one, DEL gives them back`,
      () => {
        const dataDir = join(directory, `data-${cniVersion}`);
        const ranges = [[{ subnet: "10.77.0.0/24" }], [{ subnet: "fd77::/64" }]];
        const conf = {
          cniVersion,
          name: "n",
          type: "wg-cni",
          ipam: { type: "host-local", dataDir, ranges, routes: [{ dst: "0.0.0.0/0" }] },
        };
        const add = requestOf(fullEnv("ADD"), conf);
        const result = delegateAdd(add);
        expect(podIps(result, "eth0")).toEqual(["10.77.0.2", "fd77::2"]);
        expect(result).toMatchObject({ interfaces: [], routes: [{ dst: "0.0.0.0/0" }] });
        expect(existsSync(join(dataDir, "n", "10.77.0.2"))).toBe(true);
        if (versionAtLeast(cniVersion, "0.4.0")) runDelegate("CHECK", add);
        runDelegate("DEL", add);
        expect(existsSync(join(dataDir, "n", "10.77.0.2"))).toBe(false);
        runDelegate("DEL", add);
      },
    );

  referencePlugin("its error has its code and its words", () => {
    const conf = {
      cniVersion: "1.0.0",
      name: "n",
      ipam: { type: "host-local", dataDir: directory, ranges: "x" },
    };
    const error = errorOf(() => delegateAdd(requestOf(fullEnv("ADD"), conf)));
    expect(error).toMatchObject({ code: 999, msg: expect.stringContaining("IPAMConfig.ipam.ranges") });
  });

  test("is found in CNI_PATH through a link, directories and missing directories skipped", () => {
    mkdirSync(join(directory, "a", "linked"), { recursive: true });
    plugin("target", "echo '{}'");
    mkdirSync(join(directory, "b"), { recursive: true });
    symlinkSync(join(directory, "target"), join(directory, "b", "linked"));
    const path = `/nowhere:${directory}/target:${directory}/a:${directory}/b`;
    expect(delegateAdd(request("linked", { CNI_PATH: path }))).toMatchObject({ ips: [] });
  });
});

describe("what the delegate gets", () => {
  test("the verb, the rest of the environment, and stdin byte for byte", () => {
    plugin(
      "echoing",
      `env > "${directory}/env"; cat > "${directory}/stdin"; echo '{"ips":[{"address":"10.0.0.1/8"}]}'`,
    );
    const asked = request("echoing", { CNI_ARGS: "IgnoreUnknown=1;A=ü", ELSE: "kept" });
    expect(podIps(delegateAdd(asked), "eth0")).toEqual(["10.0.0.1"]);
    const env = readFileSync(`${directory}/env`, "utf8");
    for (const line of ["CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_ARGS=IgnoreUnknown=1;A=ü", "ELSE=kept"])
      expect(env).toContain(`${line}\n`);
    expect(readFileSync(`${directory}/stdin`, "utf8")).toBe(asked.conf.raw);
    runDelegate("CHECK", asked);
    expect(readFileSync(`${directory}/env`, "utf8")).toContain("CNI_COMMAND=CHECK\n");
  });

  test("need not read its stdin", () => {
    plugin("deaf", "echo '{}'");
    expect(delegateAdd(request("deaf", {}, { padding: "x".repeat(500_000) }))).toMatchObject({ ips: [] });
  });
});

describe("failures", () => {
  const log = join(directory, "verbs");
  const failing: readonly [string, string, { code: number; msg: string; details?: string }][] = [
    [
      "own code",
      `echo '{"code":11,"msg":"later","details":"d"}'; exit 1`,
      { code: 11, msg: "later", details: "d" },
    ],
    ["no code", `echo '{"msg":"later"}'; exit 1`, { code: 106, msg: "later" }],
    ["code 0", `echo '{"code":0,"msg":"later"}'; exit 1`, { code: 106, msg: "later" }],
    ["no JSON", "echo panic; exit 3", { code: 106, msg: "with exit code 3", details: "panic" }],
    ["silence", "exit 1", { code: 106, msg: "did not say why" }],
    ["a signal", "kill -SEGV $$", { code: 106, msg: "by SIGSEGV" }],
    ["no result", "true", { code: 106, msg: "gave no usable result" }],
    ["a wrong result", `echo '{"ips":5}'`, { code: 106, msg: "result.ips: expected a list, not 5" }],
    ["a flood", "yes 2> /dev/null", { code: 106, msg: "did not say why" }],
  ];
  for (const [title, script, expected] of failing)
    test(`${title}: reported, and undone by DEL`, () => {
      writeFileSync(log, "");
      plugin("failing", `echo $CNI_COMMAND >> "${log}"; [ $CNI_COMMAND = DEL ] && exit 0\n${script}`);
      expect(errorOf(() => delegateAdd(request("failing")))).toMatchObject({
        ...expected,
        msg: expect.stringContaining(expected.msg),
      });
      expect(readFileSync(log, "utf8")).toBe("ADD\nDEL\n");
    });

  test("a failing undo does not hide the failure", () => {
    plugin("failing", `echo '{"code":11,"msg":"'$CNI_COMMAND'"}'; exit 1`);
    expect(errorOf(() => delegateAdd(request("failing")))).toMatchObject({ code: 11, msg: "ADD" });
  });

  test("a plugin that is not there", () => {
    expect(errorOf(() => delegateAdd(request("absent")))).toMatchObject({
      code: 7,
      msg: expect.stringContaining(`cannot find the plugin "absent" in CNI_PATH (/nowhere, ${directory})`),
    });
  });

  test("a plugin that cannot be started", () => {
    writeFileSync(join(directory, "noexec"), "#!/bin/sh\n", { mode: 0o644 });
    expect(errorOf(() => delegateAdd(request("noexec")))).toMatchObject({
      code: 106,
      msg: expect.stringContaining("Cannot start"),
    });
  });

  test("a plugin that is being written", () => {
    const path = join(directory, "busy");
    writeFileSync(path, readFileSync("/bin/true"), { mode: 0o755 });
    const fd = openSync(path, "r+");
    try {
      const error = errorOf(() => runDelegate("DEL", request("busy")));
      expect(error).toMatchObject({ code: 106, msg: expect.stringContaining("Cannot start") });
    } finally {
      closeSync(fd);
    }
    runDelegate("DEL", request("busy"));
  });
});
