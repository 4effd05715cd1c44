// The one executable is a CNI plugin if a runtime calls it (CNI_COMMAND is set), and a
// command line otherwise. Only this file prints and exits. It imports what every call needs, and all
// the rest on demand (scripts/build.ts), because every ADD pays for start-up.
import { askServer } from "./cni/client.ts";
import { maxStdinBytes } from "./cni/stdin.ts";
import { hostMonotonicMs } from "./linux/clock.ts";
import { readFd, writeFd } from "./linux/file.ts";
import { isOwnNetns } from "./linux/netns.ts";
import { exitProcess, forbidCoreDumps } from "./linux/syscall.ts";
import { isatty } from "./linux/terminal.ts";
import { formatVersions, supportedVersions } from "./net/cni-version.ts";
import { defaultStateDir } from "./net/state-dir.ts";

/** The build inserts the version, and a digest of the sources. */
declare const WG_CNI_VERSION: string;
declare const WG_CNI_BUILD: string;

const program = { version: WG_CNI_VERSION, build: WG_CNI_BUILD };

const stdin = 0;
const stdout = 1;
const stderr = 2;
const encoder = new TextEncoder();
let hasPrinted = false;
const print = (fd: number) => (text: string) => {
  hasPrinted ||= fd === stdout;
  writeFd(fd, encoder.encode(text));
};
const readStdin = (maxBytes: number) => readFd(stdin, maxBytes, "standard input");

forbidCoreDumps();
exitProcess(await main());

async function main(): Promise<number> {
  try {
    return await runRole();
  } catch (error) {
    return failUnexpectedly(error);
  }
}

async function runRole(): Promise<number> {
  const command = process.env["CNI_COMMAND"];
  if (command === undefined) return runAsCli();
  if (command === "") return printAbout();
  if (command === "VERSION") return printVersions();
  return runAsPlugin();
}

/** The engine would print the trace of an error that is not caught. */
async function failUnexpectedly(error: unknown): Promise<number> {
  const { answerUnexpected } = await import("./cni/unexpected.ts");
  return answerUnexpected(error, {
    command: process.env["CNI_COMMAND"],
    hasPrinted,
    stateDir: defaultStateDir,
    stdout: print(stdout),
    stderr: print(stderr),
  });
}

async function runAsPlugin(): Promise<number> {
  let read: { readonly bytes: Uint8Array | undefined } | undefined;
  const readOnce = () => {
    read ??= { bytes: readStdin(maxStdinBytes) };
    return read.bytes;
  };
  const output = { stdout: print(stdout), stderr: print(stderr) };
  const io = { env: process.env, readStdin: readOnce, ...output, isOwnNetns, elapsedMs };
  const exitCode = askServer({ ...io, build: WG_CNI_BUILD, nowMs: hostMonotonicMs });
  if (exitCode !== undefined) return exitCode;
  const { runCni } = await import("./cni/main.ts");
  return runCni(io);
}

/** The age of this process. */
function elapsedMs(): number {
  return Bun.nanoseconds() / 1e6;
}

/** VERSION must not read stdin: a person who types the command would wait forever. */
function printVersions(): number {
  print(stdout)(formatVersions());
  return 0;
}

async function runAsCli(): Promise<number> {
  const { runCli } = await import("./cli/run.ts");
  const { NO_COLOR, TERM } = process.env;
  const coloured = isatty(stdout) && (NO_COLOR ?? "") === "" && TERM !== "dumb";
  return runCli(process.argv.slice(2), program, {
    stdout: print(stdout),
    stderr: print(stderr),
    coloured,
    readStdin,
  });
}

/** Answers a call without CNI_COMMAND as the reference library does. */
function printAbout(): number {
  print(stderr)(
    `CNI plugin wg-cni v${WG_CNI_VERSION}\nCNI protocol versions supported: ${supportedVersions.join(", ")}\n`,
  );
  return 0;
}
