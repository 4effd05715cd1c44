// Starts a userspace WireGuard implementation, which makes the TUN device and
// stays behind as a daemon. The only process that this program starts besides
// other CNI plugins; it runs in the network namespace that the thread is in.
import { exists, findAccessError, findStatus, isExecutable, W_OK, writeFile } from "../linux/file.ts";
import { SysError } from "../linux/syscall.ts";
import { attempt } from "../net/error.ts";
import { socketPath, uapiDirectory } from "./uapi.ts";

/** Known implementations, best first. All take the interface's name and daemonise. */
export const implementations: readonly string[] = ["wireguard-go", "boringtun-cli", "boringtun"];

/** The parts of a process' memory that go into its core dump, which the programs that it starts inherit (core(5)). */
const dumpedParts = "/proc/self/coredump_filter";
const startMilliseconds = 10_000;
const waitMilliseconds = 5_000;
const pollMilliseconds = 2;

/** No implementation is installed, or it did not start. */
export class StartError extends Error {
  override readonly name = "StartError";
}

export interface StartOptions {
  readonly candidates?: readonly string[];
  /** Directories to search, separated by colons, as in the environment variable PATH. */
  readonly path: string;
  readonly socketDirectory?: string;
  /** True if this process runs in a container, which has programs of its own. */
  readonly isContainer?: boolean;
}

/**
 * Starts the first implementation that is installed and waits until it listens;
 * returns its path. Throws StartError.
 */
export function startUserspace(name: string, options: StartOptions): string {
  const candidates = options.candidates ?? implementations;
  const program = findProgram(candidates, options.path);
  if (program === undefined)
    throw new StartError(`Cannot start WireGuard device ${name}: ${explainAbsence(candidates, options)}`);
  const directory = options.socketDirectory ?? uapiDirectory;
  try {
    run(program, name, options.path);
  } catch (error) {
    const obstacle = error instanceof StartError ? findObstacle(directory, name) : undefined;
    if (obstacle === undefined) throw error;
    // The programs do not report this error, because they are in the background by then.
    throw new StartError(`Cannot start ${program} for WireGuard device ${name}: ${obstacle}`, {
      cause: error,
    });
  }
  waitForSocket(program, socketPath(directory, name));
  return program;
}

function explainAbsence(candidates: readonly string[], { path, isContainer }: StartOptions): string {
  const some = candidates.join(", ");
  if (isContainer)
    return (
      `this container has none of ${some}, and does not see the node's programs. On the node, load the kernel's ` +
      "WireGuard (modprobe wireguard), or install wireguard-go and the unit wg-cni-userspace.service, which starts it"
    );
  return `none of ${some} is in ${path}; install one of them (Debian: apt install wireguard-go), or load the kernel's WireGuard (modprobe wireguard)`;
}

/** The first of `names` that is an executable file in one of the directories of `path`. */
export function findProgram(names: readonly string[], path: string): string | undefined {
  for (const name of names)
    for (const directory of path.split(":")) {
      // Relative directories would make it depend on the working directory what root runs.
      const file = `${directory}/${name}`;
      if (directory.startsWith("/") && isExecutable(file)) return file;
    }
  return undefined;
}

/** Finds what prevents a new socket in the directory of sockets. */
function findObstacle(directory: string, name: string): string | undefined {
  const status = findStatus(directory);
  if (status === undefined) return undefined;
  if (status.kind !== "directory")
    return `${directory}, in which its socket would be, is not a directory: remove it`;
  const error = findAccessError(directory, W_OK);
  if (error !== undefined) return `its socket cannot be made in ${directory} (${error.code})`;
  const path = socketPath(directory, name);
  return exists(path)
    ? `its socket ${path} is another process's, perhaps of another network namespace`
    : undefined;
}

function run(program: string, name: string, path: string): void {
  // The daemon has the private keys in its memory, and does not forbid core dumps itself. It is started also if the
  // filter cannot be written: an encrypted path is worth more than a core dump that may never be.
  attempt(
    SysError,
    () => writeFile(dumpedParts, "0"),
    () => undefined,
  );
  // Nothing else of our environment: LOG_LEVEL, for one, would keep the daemon attached to our output.
  const done = Bun.spawnSync([program, name], {
    env: { PATH: path },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    timeout: startMilliseconds,
  });
  if (done.exitCode === 0) return;
  // wireguard-go puts a banner in a frame around its errors.
  const lines = done.stderr.toString().trim().split("\n");
  const said = lines.findLast((line) => /^[^│┌└]/.test(line)) ?? "";
  const how = done.exitedDueToTimeout
    ? `it did not go to the background within ${startMilliseconds / 1000} seconds`
    : `it ended with ${done.signalCode ?? `exit code ${done.exitCode}`}`;
  throw new StartError(`Cannot start ${program} for WireGuard device ${name}: ${how} ("${said}")`);
}

/** The daemon goes to the background a moment before or after it listens. */
function waitForSocket(program: string, path: string): void {
  const deadline = Bun.nanoseconds() + waitMilliseconds * 1e6;
  while (!exists(path)) {
    if (Bun.nanoseconds() > deadline)
      throw new StartError(
        `${program} was started, but ${path} did not appear within ${waitMilliseconds / 1000} seconds`,
      );
    Bun.sleepSync(pollMilliseconds);
  }
}
