import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { logVerb, withLog, withLoggedFailures } from "../../src/cni/log.ts";
import type { Request } from "../../src/cni/request.ts";
import type { Verbs } from "../../src/cni/skel.ts";

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true });
});

function setUp() {
  const stateDir = mkdtempSync(join(tmpdir(), "wgt-log-"));
  directories.push(stateDir);
  const warned: string[] = [];
  const request = {
    command: "ADD",
    containerID: "0123456789abcdef",
    ifname: "eth0",
    conf: { name: "pods", stateDir },
    warn: (message: string) => warned.push(message),
  } as unknown as Request;
  return { stateDir, path: join(stateDir, "plugin.log"), warned, request };
}

test("a warning goes on and into the log, with who it is about", () => {
  const { path, warned, request } = setUp();
  withLog(request).warn('unknown key "mut"; did you mean "mtu"?');
  expect(warned).toEqual(['unknown key "mut"; did you mean "mtu"?']);
  expect(readFileSync(path, "utf8")).toMatch(
    /^\d{4}-\d\d-\d\dT[\d:.]+Z ADD pods 0123456789ab eth0: warning: unknown key "mut"; did you mean "mtu"\?\n$/,
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("a failing verb is logged on one line and still fails; a good one leaves no trace", () => {
  const { path, request } = setUp();
  const verbs = withLoggedFailures({
    add: () => "{}",
    del: () => {
      throw Object.assign(new Error("first\nsecond"), { name: "SysError" });
    },
  } as unknown as Verbs);
  expect(verbs.add(request)).toBe("{}");
  expect(() => readFileSync(path)).toThrow("ENOENT");
  expect(() => verbs.del(request)).toThrow("first");
  expect(readFileSync(path, "utf8")).toEndWith(" eth0: error: first second\n");
});

test("the stack of a defect is in the log, on its line", () => {
  const { path, request } = setUp();
  const verbs = withLoggedFailures({
    del: () => {
      throw new TypeError("x is undefined");
    },
  } as unknown as Verbs);
  expect(() => verbs.del(request)).toThrow("x is undefined");
  expect(readFileSync(path, "utf8")).toMatch(
    /^[^\n]* error: TypeError: x is undefined +at [^\n]*log\.test\.ts[^\n]*\n$/,
  );
});

test("past a mebibyte the log begins anew and the old one is kept once", () => {
  const { path, request } = setUp();
  writeFileSync(path, "x".repeat(1024 * 1024 + 1));
  withLog(request).warn("new");
  expect(statSync(`${path}.1`).size).toBe(1024 * 1024 + 1);
  expect(readFileSync(path, "utf8")).toEndWith("warning: new\n");
});

test("a log that cannot be written does not fail the call", () => {
  const { stateDir, request } = setUp();
  const elsewhere = { ...request, conf: { ...request.conf, stateDir: `${stateDir}/absent` } };
  expect(() => withLog(elsewhere).warn("lost")).not.toThrow();
});

test("how a call ended is one line of the call log; a STATUS, or a directory that is missing, leaves none", () => {
  const { stateDir, request } = setUp();
  const path = join(stateDir, "calls.log");
  logVerb({ ...request, command: "STATUS" }, undefined, 1);
  expect(() => readFileSync(path)).toThrow("ENOENT");
  logVerb(request, undefined, 7.8125);
  logVerb({ ...request, command: "DEL" }, 11, 3);
  expect(readFileSync(path, "utf8")).toMatch(
    /^\d{4}-\d\d-\d\dT[\d:.]+Z ADD ok 7\.81\n\d{4}-\d\d-\d\dT[\d:.]+Z DEL 11 3\.00\n$/,
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const elsewhere = { ...request, conf: { ...request.conf, stateDir: `${stateDir}/absent` } };
  expect(() => logVerb(elsewhere, undefined, 1)).not.toThrow();
  writeFileSync(path, "x".repeat(1024 * 1024 + 1));
  logVerb(request, undefined, 1);
  expect(statSync(`${path}.1`).size).toBe(1024 * 1024 + 1);
});
