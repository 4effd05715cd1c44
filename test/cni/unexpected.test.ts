// Errors that nothing has expected: what a runtime and a person get, and where the trace is.
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cniCodes } from "../../src/cni/error.ts";
import { answerUnexpected } from "../../src/cni/unexpected.ts";

const stateDir = mkdtempSync(join(tmpdir(), "wgt-unexpected-"));
afterAll(() => rmSync(stateDir, { recursive: true }));

function answer(thrown: unknown, change: Partial<Parameters<typeof answerUnexpected>[1]> = {}) {
  const printed = { stdout: "", stderr: "" };
  const exitCode = answerUnexpected(thrown, {
    ...{ command: "ADD", hasPrinted: false, stateDir },
    stdout: (text) => {
      printed.stdout += text;
    },
    stderr: (text) => {
      printed.stderr += text;
    },
    ...change,
  });
  return { exitCode, ...printed };
}

const refuse = () => {
  throw new Error("closed");
};

test("a runtime gets a CNI error without the trace, which is in the log", () => {
  const { exitCode, stdout, stderr } = answer(new TypeError("x is undefined"));
  expect([exitCode, stderr]).toEqual([1, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ code: cniCodes.internal, cniVersion: "1.1.0" });
  expect(stdout).not.toContain("unexpected.test.ts");
  expect(readFileSync(join(stateDir, "plugin.log"), "utf8")).toMatch(
    /^[^\n]* ADD: error: TypeError: x is undefined +at [^\n]*unexpected\.test\.ts[^\n]*\n$/,
  );
});

test("standard output that has an answer gets no second one", () => {
  const { stdout, stderr } = answer(new RangeError("too deep"), { hasPrinted: true });
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^wg-cni: [^\n]*RangeError: too deep[^\n]*\n$/);
});

test("a command line gets a sentence on standard error", () => {
  const { exitCode, stdout, stderr } = answer(new Error("no\nreason"), { command: undefined });
  expect([exitCode, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^wg-cni: [^\n]*no\\nreason[^\n]*\n$/);
});

test("an output that takes nothing is no further failure", () => {
  expect(answer("thrown text", { stdout: refuse, stderr: refuse }).exitCode).toBe(1);
  expect(answer(new Error("x"), { stdout: refuse }).stderr).toStartWith("wg-cni: ");
});
