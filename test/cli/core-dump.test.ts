// Private keys are in the memory of whoever programs a device. A process that is ended
// by a signal leaves its memory behind as a file, by default in its working directory.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startUserspace } from "../../src/wireguard/start.ts";
import { fullEnv } from "../cni/io.ts";
import { binary } from "../lab/paths.ts";
import { waitUntil } from "../lab/wait.ts";

const pattern = readFileSync("/proc/sys/kernel/core_pattern", "utf8").trim();
const elsewhere = /^[|/]/.test(pattern) ? `core dumps go to ${pattern} here` : undefined;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "wg-cni-core-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Files that a program leaves which reads its input when the signal comes. */
async function filesAfterSignal(command: string[], env: Record<string, string>): Promise<string[]> {
  const argv = ["sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh", ...command];
  const child = Bun.spawn(argv, { cwd: directory, env, stdin: "pipe", stdout: "ignore", stderr: "ignore" });
  // read(2) of descriptor 0.
  const isReading = () => readFileSync(`/proc/${child.pid}/syscall`, "utf8").startsWith(`${readNumber} 0x0 `);
  await waitUntil(isReading, { what: `${command[0]} reads its input` });
  // One that runtimes do not handle.
  child.kill("SIGXCPU");
  await child.exited;
  const files = readdirSync(directory);
  for (const file of files) rmSync(join(directory, file));
  return files;
}
const readNumber = process.arch === "arm64" ? 63 : 0;
const PATH = process.env["PATH"] ?? "/usr/bin:/bin";

test.skipIf(elsewhere !== undefined)("another program that is ended leaves its memory behind", async () => {
  expect(await filesAfterSignal(["cat"], { PATH })).toEqual([expect.stringContaining("core")]);
});

test("the executable that is ended leaves none", async () => {
  const env = { ...(fullEnv("ADD") as Record<string, string>), PATH };
  expect(await filesAfterSignal([binary], env)).toEqual([]);
});

describe("the program of a userspace device", () => {
  const secret = "in-the-memory-of-the-daemon";
  const socketDirectory = () => `${directory}/sockets`;
  /** Goes to the background as wireguard-go does, and ends by a signal at once. */
  const program = () => `#!/bin/sh
ulimit -c unlimited
cd ${directory}
(SECRET=${secret}; kill -ABRT "$(exec sh -c 'echo $PPID')"; :) 2>/dev/null
mkdir -p ${socketDirectory()} && touch ${socketDirectory()}/wg-cni-a.sock
`;
  /** The core dumps that it has left, which are removed. */
  const dumps = () =>
    readdirSync(directory)
      .filter((name) => name.startsWith("core"))
      .map((name) => {
        const bytes = readFileSync(join(directory, name));
        rmSync(join(directory, name));
        return bytes;
      });

  beforeAll(() => {
    writeFileSync(join(directory, "daemon"), program());
    chmodSync(join(directory, "daemon"), 0o755);
  });

  test.skipIf(elsewhere !== undefined)("leaves its memory behind if it is started by another program", () => {
    Bun.spawnSync(["sh", "-c", `echo 0x33 >/proc/self/coredump_filter && exec ${directory}/daemon`]);
    expect(dumps().map((bytes) => bytes.includes(secret))).toEqual([true]);
  });

  test("leaves none of its memory behind if it is started by us", () => {
    startUserspace("wg-cni-a", {
      ...{ candidates: ["daemon"], path: `${directory}:${PATH}`, socketDirectory: socketDirectory() },
    });
    expect(dumps().filter((bytes) => bytes.includes(secret))).toEqual([]);
    expect(Number(readFileSync("/proc/self/coredump_filter", "utf8"))).toBe(0);
  });
});
