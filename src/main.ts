// The one executable is a CNI plugin if a runtime calls it (CNI_COMMAND is set), and a
// command line otherwise. Only this file prints and exits. It imports the CNI path at once
// and the command line on demand (scripts/build.ts), because every ADD pays for start-up.
import { runCni } from "./cni/main.ts";
import { readFd, writeFd } from "./linux/file.ts";
import { findNetnsIdentity, ownNetns } from "./linux/netns.ts";
import { exitProcess, forbidCoreDumps } from "./linux/syscall.ts";
import { isatty } from "./linux/terminal.ts";
import { supportedVersions } from "./net/cni-version.ts";

/** The build inserts the version. */
declare const WG_CNI_VERSION: string;

const stdin = 0;
const stdout = 1;
const stderr = 2;
const encoder = new TextEncoder();
const print = (fd: number) => (text: string) => writeFd(fd, encoder.encode(text));
const readStdin = (maxBytes: number) => readFd(stdin, maxBytes, "standard input");

forbidCoreDumps();
exitProcess(await main());

async function main(): Promise<number> {
  const command = process.env["CNI_COMMAND"];
  if (command === undefined) return runAsCli();
  if (command === "") return printAbout();
  return runAsPlugin();
}

function runAsPlugin(): Promise<number> {
  return runCni({ env: process.env, readStdin, stdout: print(stdout), stderr: print(stderr), isOwnNetns });
}

async function runAsCli(): Promise<number> {
  const { runCli } = await import("./cli/run.ts");
  const { NO_COLOR, TERM } = process.env;
  const coloured = isatty(stdout) && (NO_COLOR ?? "") === "" && TERM !== "dumb";
  return runCli(process.argv.slice(2), WG_CNI_VERSION, {
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

/** True if `path` is the network namespace that this process runs in. */
function isOwnNetns(path: string): boolean {
  try {
    return findNetnsIdentity(path) === findNetnsIdentity(ownNetns);
  } catch {
    return false;
  }
}
