// Codes of failures that come from other directories, and the JSON a runtime reads.
import { describe, expect, test } from "bun:test";
import { CniError, cniCodes, formatError, toCniError } from "../../src/cni/error.ts";
import { ParseError } from "../../src/net/error.ts";

function named(name: string, message: string, more: object = {}): Error {
  return Object.assign(new Error(message, more), { name, ...more });
}

describe("codes", () => {
  const cases: readonly [Error, number][] = [
    [new CniError("checkFailed", "x"), 104],
    [new CniError({ code: 42 }, "x"), 42],
    [new ParseError("x"), 7],
    [named("StoreError", "x", { kind: "busy" }), 11],
    [named("StoreError", "x", { kind: "full" }), 5],
    [named("StoreError", "x", { kind: "corrupt" }), 5],
    [named("NetlinkError", "x"), 101],
    [named("DecodeError", "x"), 101],
    [named("SysError", "x"), 102],
    [new TypeError("x"), 100],
  ];
  for (const [error, code] of cases)
    test(`${error.name} ${JSON.stringify(error)} is ${code}`, () =>
      expect(toCniError(error).code).toBe(code));

  test("no two kinds share a code", () => {
    const codes = Object.values(cniCodes);
    expect(new Set(codes).size).toBe(codes.length);
  });

  test("the message is the failure's own, the details are its causes", () => {
    const root = new Error("disk I/O error");
    const error = toCniError(named("StoreError", "Cannot write /x/state.db", { kind: "io", cause: root }));
    expect([error.message, error.details]).toEqual(["Cannot write /x/state.db", "disk I/O error"]);
  });

  test("a circle of causes ends", () => {
    const error = named("SysError", "round");
    error.cause = error;
    expect(toCniError(error).details?.length).toBeLessThan(100);
  });

  test("what is not an Error is a defect, too", () => {
    expect(toCniError("boom")).toMatchObject({ code: 100, message: expect.stringContaining("boom") });
    expect(toCniError(undefined).code).toBe(100);
  });
});

test("the JSON has the caller's version; empty details are left out", () => {
  expect(JSON.parse(formatError(new CniError("io", "a"), "0.4.0"))).toEqual({
    cniVersion: "0.4.0",
    code: 5,
    msg: "a",
  });
  expect(JSON.parse(formatError(new CniError("io", "a", { details: "b" }), "1.1.0"))).toEqual({
    cniVersion: "1.1.0",
    code: 5,
    msg: "a",
    details: "b",
  });
});
