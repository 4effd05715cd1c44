// Answers to lists and watches are read; errors decide when all is listed again, and how long the pause is.
import { describe, expect, test } from "bun:test";
import { KubeError } from "../../src/kube/error.ts";
import {
  mustListAgain,
  parseRetryAfter,
  readListPage,
  readWatchLine,
  statusError,
} from "../../src/kube/watch.ts";
import { LineSplitter } from "../../src/kubeclient/line-splitter.ts";
import { makeRandom } from "../plan/random.ts";

const object = { metadata: { name: "node-1", resourceVersion: "12" } };
const line = (type: string, value: unknown = object) => JSON.stringify({ type, object: value });

describe("a line of a watch", () => {
  test.each([
    ["ADDED", "put"],
    ["MODIFIED", "put"],
    ["DELETED", "deleted"],
  ] as const)("%s", (type, change) => {
    expect(readWatchLine(line(type))).toEqual({ change, object, resourceVersion: "12" });
  });

  test("a bookmark changes nothing but the version", () => {
    expect(readWatchLine(line("BOOKMARK"))).toEqual({ object, resourceVersion: "12" });
  });

  test.each([
    "",
    "{",
    "[]",
    "null",
    "5",
    line("WHAT"),
    line("ADDED", {}),
    line("ADDED", null),
    '{"type":"ADDED"}',
  ])("%p is no event", (text) => {
    expect(() => readWatchLine(text)).toThrow("is no event");
  });

  test("an error says what to do next", () => {
    const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version: 1 (9)" };
    const error = catchError(() => readWatchLine(line("ERROR", gone)));
    expect(error.message).toBe("The API server ended the watch (410): too old resource version: 1 (9)");
    expect(mustListAgain(error, 1)).toBe(true);
  });
});

describe("a list", () => {
  test("has items, a version, and maybe more", () => {
    expect(readListPage({ items: [1], metadata: { resourceVersion: "5", continue: "x" } })).toEqual({
      ...{ items: [1], resourceVersion: "5", next: "x" },
    });
    expect(readListPage({ items: null, metadata: { resourceVersion: "5" } })).toEqual({
      ...{ items: [], resourceVersion: "5", next: "" },
    });
  });

  test("is told from what is none", () => {
    for (const json of [null, [], {}, { items: [] }, { items: 5, metadata: { resourceVersion: "5" } }])
      expect(() => readListPage(json)).toThrow("that is none");
  });
});

test.each([
  ["no answer", {}, 1, false],
  ["no answer, for long", {}, 50, false],
  ["a busy server", { status: 429 }, 1, false],
  ["a server that starts", { status: 503 }, 2, false],
  ["three refusals", { status: 403 }, 3, true],
  ["a refusal", { status: 403 }, 1, false],
  ["a token that has expired", { status: 401 }, 1, false],
  ["a version that is too old", { status: 410 }, 1, true],
  ["an old server's word for it", { reason: "Gone" }, 1, true],
  ["a version from before a restored backup", { status: 504, reason: "ResourceVersionTooLarge" }, 1, true],
  ["a resource that is not there", { status: 404 }, 1, true],
  ["a line that is no event", { status: 200 }, 1, true],
])("after %s (%j, failure %d) everything is listed again: %p", (_, failure, failures, expected) => {
  expect(mustListAgain(new KubeError("x", failure), failures)).toBe(expected);
});

test("a version that is too new is known by the cause", () => {
  const details = { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }] };
  const error = statusError({ code: 504, reason: "Timeout", details }, "x");
  expect(error.failure).toEqual({ status: 504, reason: "ResourceVersionTooLarge" });
});

test("an error's text is one line, whatever it says", () => {
  const message = "denied:\n\u001b[31mfoo\tbar\r\nINFO all is well";
  expect(statusError({ message }, "The API said no").message).toBe(
    "The API said no: denied: [31mfoo bar INFO all is well",
  );
});

test("an error of any status is a sentence of bounded length", () => {
  const odd = { message: "m".repeat(10_000), code: "5", reason: 7, details: [] };
  for (const json of [null, 5, "x", [], {}, odd]) {
    const error = statusError(json, "The API said no", { status: 500 });
    expect(error.message).toStartWith("The API said no (500)");
    expect(error.message.length).toBeLessThan(400);
  }
});

test.each([
  ["5", 5000],
  ["0", 0],
  ["Thu, 01 Jan 2026 00:00:30 GMT", 30_000],
  ["Thu, 01 Jan 2026 00:00:00 GMT", 0],
  ["Wed, 31 Dec 2025 00:00:00 GMT", 0],
  ["99999999", 600_000],
  ["soon", undefined],
  ["", undefined],
  [null, undefined],
])("Retry-After: %p is %p ms", (text, ms) => {
  expect(parseRetryAfter(text, Date.parse("2026-01-01T00:00:00Z"))).toBe(ms as number);
});

describe("lines", () => {
  const cut = (text: string, sizes: () => number): string[] => {
    const bytes = new TextEncoder().encode(text);
    const lines = new LineSplitter();
    const found: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = sizes();
      const chunk = bytes.slice(at, at + size);
      for (const one of lines.split(chunk)) found.push(one);
      // A stream may fill the same memory again.
      chunk.fill(0);
      at += size;
    }
    return found;
  };

  test("come out whole, however they are cut", () => {
    const lines = ['{"a":"äöü€😀"}', "", "x", "y".repeat(1000), "last"];
    for (let seed = 0; seed < 100; seed++) {
      const random = makeRandom(seed);
      const found = cut(`${lines.join("\n")}\nhalf a line`, () => 1 + Math.floor(random() * 20));
      expect(found).toEqual(lines.filter((one) => one !== ""));
    }
  });

  test("that never end are not kept for ever", () => {
    const lines = new LineSplitter();
    const megabyte = new Uint8Array(1024 * 1024).fill(0x20);
    expect(() => {
      for (let i = 0; i < 10; i++) for (const _ of lines.split(megabyte));
    }).toThrow("a line of more than 4 MiB");
  });
});

function catchError(action: () => unknown): KubeError {
  try {
    action();
  } catch (error) {
    return error as KubeError;
  }
  throw new Error("nothing was thrown");
}
