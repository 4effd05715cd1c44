// The call log from both ends: lines as plugin processes write them, read by the
// agent while the file is moved aside under it.
import { afterAll, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CallRecord, formatCall, parseCall } from "../../src/net/call-log.ts";
import { CallLogTail } from "../../src/telemetry/call-log-tail.ts";

const root = mkdtempSync(join(tmpdir(), "wgt-verbs-"));
afterAll(() => rmSync(root, { recursive: true }));

const time = "2026-11-21T01:02:03.456Z";
/** Told apart by their duration. */
const line = (durationMs: number) => formatCall(time, { verb: "ADD", durationMs });

function setUp(before?: string) {
  const directory = mkdtempSync(join(root, "state-"));
  const path = join(directory, "calls.log");
  if (before !== undefined) writeFileSync(path, before);
  const tail = new CallLogTail(directory);
  const read = () => tail.read().calls.map(({ durationMs }) => durationMs);
  const append = (text: string) => appendFileSync(path, text);
  const rotate = () => renameSync(path, `${path}.1`);
  return { path, tail, read, append, rotate };
}

const correct: readonly [CallRecord, string][] = [
  [{ verb: "ADD", durationMs: 7.81 }, `${time} ADD ok 7.81\n`],
  [{ verb: "DEL", errorCode: 11, durationMs: 3000 }, `${time} DEL 11 3000.00\n`],
  [{ verb: "GC", errorCode: 107, durationMs: 0.5 }, `${time} GC 107 0.50\n`],
];
for (const [record, text] of correct)
  test(`a line and back: ${text.trim()}`, () => {
    expect(formatCall(time, record)).toBe(text);
    expect(parseCall(text.slice(0, -1))).toEqual(record);
  });

for (const wrong of [
  "",
  "rubbish",
  `${time} ADD ok`,
  `${time} ADD ok 1.00 more`,
  `${time} STATUS ok 1.00`,
  `${time} ADD nok 1.00`,
  `${time} ADD ok NaN`,
  `${time} ADD ok 1e9`,
  `${time} ADD -1 1.00`,
  `${time} ADD ok 1.00\r`,
  "\0".repeat(100),
])
  test(`no line of ours: ${JSON.stringify(wrong.slice(0, 60))}`, () =>
    expect(parseCall(wrong)).toBeUndefined());

test("begins at the end of what is there, and reads every line once", () => {
  const { read, append } = setUp(line(1));
  expect(read()).toEqual([]);
  append(line(2) + line(3));
  expect(read()).toEqual([2, 3]);
  expect(read()).toEqual([]);
});

test("a file that is not there yet is read from its beginning", () => {
  const { read, append } = setUp();
  expect(read()).toEqual([]);
  append(line(1));
  expect(read()).toEqual([1]);
});

test("half a line waits for its other half", () => {
  const { read, append } = setUp("");
  append(`${line(1)}${line(2).slice(0, 20)}`);
  expect(read()).toEqual([1]);
  append(line(2).slice(20));
  expect(read()).toEqual([2]);
});

test("a file moved aside is read to its end, then the new one", () => {
  const { read, append, rotate } = setUp("");
  append(line(1));
  expect(read()).toEqual([1]);
  append(line(2));
  rotate();
  expect(read()).toEqual([2]);
  append(line(3));
  expect(read()).toEqual([3]);
  append(line(4));
  expect(read()).toEqual([4]);
});

test("moved aside twice between two reads: what was removed meanwhile is read too", () => {
  const { read, append, rotate } = setUp("");
  append(line(1));
  rotate();
  append(line(2));
  rotate();
  append(line(3));
  expect(read()).toEqual([1, 2, 3]);
  expect(read()).toEqual([]);
});

test("an emptied file begins anew", () => {
  const { path, read, append } = setUp("");
  append(line(1) + line(2));
  expect(read()).toEqual([1, 2]);
  truncateSync(path, 0);
  append(line(3));
  expect(read()).toEqual([3]);
});

test("malformed lines are counted and do no harm to the rest; a file without line ends is left behind", () => {
  const { tail, append } = setUp("");
  append(`rubbish\n${line(1)}\n${line(2)}`);
  expect(tail.read()).toMatchObject({ calls: [{ durationMs: 1 }, { durationMs: 2 }], malformed: 2 });
  append("x".repeat(4 * 1024 * 1024));
  expect(tail.read()).toEqual({ calls: [], malformed: 0 });
  append(`\n${line(3)}`);
  expect(tail.read()).toMatchObject({ calls: [{ durationMs: 3 }], malformed: 1 });
});

test("holds one descriptor, and none when it ends", () => {
  const { path, tail, read, append, rotate } = setUp("");
  const held = () =>
    readdirSync("/proc/self/fd").flatMap((fd) => {
      const link = `/proc/self/fd/${fd}`;
      // The listing's own is gone by now.
      const target = existsSync(link) ? readlinkSync(link) : "";
      return target.startsWith(path) ? [target] : [];
    });
  for (let i = 0; i < 5; i++) {
    append(line(i));
    rotate();
    append(line(i));
    expect(read()).toEqual([i, i]);
  }
  expect(held()).toEqual([path]);
  tail[Symbol.dispose]();
  expect(held()).toEqual([]);
});
