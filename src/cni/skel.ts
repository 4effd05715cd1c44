// Implements the plugin side of the CNI protocol: it takes environment and stdin, and gives a result
// or an error on stdout and an exit code. The order of the checks and the wording of the messages are
// the reference library's (skel.go), because runtimes and tests match on them. It has no I/O of its
// own: everything comes through Io.

import {
  type CniVersion,
  formatVersions,
  isSupported,
  newestVersion,
  versionAtLeast,
} from "../net/cni-version.ts";
import { messageOf } from "../net/error.ts";
import { printable } from "../net/printable.ts";
import { parseArgs } from "./args.ts";
import { type ConfHead, type NetConf, parseConf, parseHead } from "./config.ts";
import { type Command, type Env, type EnvRequest, parseEnv } from "./env.ts";
import { CniError, formatError, toCniError } from "./error.ts";
import type { Request } from "./request.ts";
import { maxStdinBytes } from "./stdin.ts";

export interface Io {
  readonly env: Env;
  /** Returns all of stdin, or undefined if it is larger than the limit. */
  readStdin(maxBytes: number): Uint8Array | undefined;
  stdout(text: string): void;
  stderr(text: string): void;
  /** True if the path leads to the network namespace of this process; false also if it leads nowhere. */
  isOwnNetns(path: string): boolean;
  /** The age of the runtime's call in milliseconds. */
  elapsedMs(): number;
}

/** The implementation of each verb; failures are thrown. */
export interface Verbs {
  /** Returns the result's JSON text. */
  add(request: Request): string;
  del(request: Request): void;
  check(request: Request): void;
  status(request: Request): void;
  gc(request: Request): void;
}

/** The answer to a call. */
export interface Answer {
  readonly exitCode: number;
  /** The code of the error that was printed. */
  readonly errorCode?: number;
}

/** Serves one call and returns the exit code. */
export function run(io: Io, verbs: Verbs): number {
  const request = readRequest(io);
  return typeof request === "number" ? request : perform(io, request, verbs).exitCode;
}

/** Does the first half: everything that needs no verb. A number is the exit code of a call that was answered already. */
export function readRequest(io: Io): Request | number {
  let version: string = newestVersion;
  try {
    const env = parseEnv(io.env);
    if (env.command === "VERSION") return answerVersion(io);
    const head = parseHead(readConfig(io));
    version = head.cniVersion;
    return buildRequest(io, env, head);
  } catch (error) {
    return fail(io, error, version).exitCode;
  }
}

/** Does the second half: runs the verb and answers. */
export function perform(io: Io, request: Request, verbs: Verbs): Answer {
  try {
    for (const warning of request.conf.warnings) request.warn(warning);
    const result = dispatch(io, request, verbs);
    if (result !== undefined) io.stdout(`${result}\n`);
    return { exitCode: 0 };
  } catch (error) {
    return fail(io, error, request.conf.cniVersion);
  }
}

/** The longest message, in characters. */
const maxWarningLength = 4000;

function readConfig(io: Io): string {
  const bytes = readStdin(io);
  if (bytes === undefined)
    throw new CniError("io", `The network configuration on stdin is larger than ${maxStdinBytes / 1024} KiB`);
  return new TextDecoder().decode(bytes);
}

function readStdin(io: Io): Uint8Array | undefined {
  try {
    return io.readStdin(maxStdinBytes);
  } catch (error) {
    const why = messageOf(error);
    throw new CniError("io", `Cannot read the network configuration: ${why}`, { cause: error });
  }
}

function buildRequest(io: Io, env: EnvRequest, head: ConfHead): Request {
  const command = knownCommand(env.command);
  const least = leastVersions[command];
  if (least !== undefined && !versionAtLeast(head.cniVersion, least))
    throw new CniError("incompatibleVersion", `config version does not allow ${command}`, {
      details: `config is ${head.cniVersion}, ${command} needs ${least}`,
    });
  const { containerID, netns, netnsOverride, ifname, path } = env;
  const warn = (message: string) => io.stderr(`wg-cni: ${printable(message, maxWarningLength)}\n`);
  const args = readArgs(env, warn);
  const conf: NetConf = parseConf(head, command, args);
  return { command, containerID, netns, netnsOverride, ifname, path, args, env: io.env, conf, warn };
}

/** The first version of the specification that has each verb. */
const leastVersions: { readonly [C in Command]?: CniVersion } = {
  CHECK: "0.4.0",
  GC: "1.1.0",
  STATUS: "1.1.0",
};

const commands: readonly string[] = ["ADD", "DEL", "CHECK", "STATUS", "GC"] satisfies Command[];

function knownCommand(command: string): Command {
  if (commands.includes(command)) return command as Command;
  throw new CniError("invalidEnvironment", `unknown CNI_COMMAND: ${command}`);
}

/** DEL must not fail because of values that only ADD and CHECK use; STATUS and GC are about no container. */
function readArgs({ command, args }: EnvRequest, warn: Request["warn"]): ReadonlyMap<string, string> {
  if (command === "STATUS" || command === "GC") return new Map();
  if (command !== "DEL") return parseArgs(args);
  try {
    return parseArgs(args);
  } catch (error) {
    warn(`Ignored on DEL: ${(error as Error).message}`);
    return new Map();
  }
}

function dispatch(io: Io, request: Request, verbs: Verbs): string | undefined {
  switch (request.command) {
    case "ADD":
      // The reference library checks after ADD, when the host is already changed.
      refuseOwnNetns(io, request);
      return verbs.add(request);
    case "DEL":
      verbs.del(request);
      refuseOwnNetns(io, request);
      return undefined;
    case "CHECK":
      verbs.check(request);
      return undefined;
    case "STATUS":
      verbs.status(request);
      return undefined;
    case "GC":
      verbs.gc(request);
      return undefined;
    case "VERSION":
      throw new Error("VERSION is answered before there is a request");
  }
}

/** A pod in the node's own namespace would have the node's links and routes changed as if they were the pod's. */
function refuseOwnNetns(io: Io, { netns, netnsOverride }: Request): void {
  if (netnsOverride || netns === "") return;
  if (io.isOwnNetns(netns))
    throw new CniError("invalidNetns", "plugin's netns and netns from CNI_NETNS should not be the same", {
      details: netns,
    });
}

/** Prints the version without reading stdin, as in the reference library: a person who types the command would wait forever. */
function answerVersion(io: Io): number {
  io.stdout(formatVersions());
  return 0;
}

/** Writes errors to stdout, from which libcni reads them; to stderr only if stdout is closed. */
function fail(io: Io, thrown: unknown, version: string): Answer {
  const error = toCniError(thrown);
  const text = formatError(error, isSupported(version) ? version : newestVersion);
  try {
    io.stdout(`${text}\n`);
  } catch {
    io.stderr(`${text}\n`);
  }
  return { exitCode: 1, errorCode: error.code };
}
