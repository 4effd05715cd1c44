// The functions call another CNI plugin for address management, as the specification
// describes under "Delegated plugins": it is found in CNI_PATH, gets the same environment
// and the whole configuration on stdin, and its stderr is passed on. Its errors become
// ours, with its code.
import { findStatus } from "../linux/file.ts";
import type { Command } from "./env.ts";
import { CniError } from "./error.ts";
import { isObject, type JsonObject } from "./json.ts";
import type { Request } from "./request.ts";
import type { Result } from "./result.ts";
import { parseResult } from "./result-parse.ts";

/** An ADD and its undo fit into the two minutes after which kubelet kills us. */
const timeoutMilliseconds = 55_000;
const maxOutputBytes = 1024 * 1024;
/** "Text file busy" means that an installer is writing the plugin. The call is repeated as often as by libcni. */
const busyRetries = 5;
const busyPauseMilliseconds = 200;

/**
 * Asks the plugin for addresses. Throws CniError, after a DEL: a failed ADD may
 * have reserved some (specification, "Delegated plugin execution procedure").
 */
export function delegateAdd(request: Request): Result {
  const type = delegateType(request);
  const path = findPlugin(type, request.path);
  try {
    return parseOutput(type, execute(type, path, "ADD", request), request);
  } catch (error) {
    undo(type, path, request);
    throw error;
  }
}

/** Calls the plugin named by `ipam.type` for another verb than ADD. Throws CniError. */
export function runDelegate(command: "DEL" | "CHECK" | "STATUS" | "GC", request: Request): void {
  const type = delegateType(request);
  execute(type, findPlugin(type, request.path), command, request);
}

function execute(type: string, path: string, command: Command, request: Request): string {
  const run = spawnUnlessBusy(path, { ...request.env, CNI_COMMAND: command }, request.conf.raw);
  const output = run.stdout.toString();
  if (run.exitCode === 0) return output;
  throw delegateError(type, command, run, output);
}

function parseOutput(type: string, output: string, request: Request): Result {
  try {
    return parseResult(JSON.parse(output), request.conf.cniVersion, "result");
  } catch (error) {
    const why = (error as Error).message;
    throw new CniError("delegate", `The IPAM plugin "${type}" gave no usable result: ${why}`, {
      cause: error,
    });
  }
}

/** Undoes an ADD. A further failure is only a warning, because the first one is to be reported. */
function undo(type: string, path: string, request: Request): void {
  try {
    execute(type, path, "DEL", request);
  } catch (error) {
    request.warn(`The IPAM plugin "${type}" also failed to undo its ADD: ${(error as Error).message}`);
  }
}

function delegateType({ conf: { ipam, name } }: Request): string {
  if (ipam?.kind === "delegate") return ipam.type;
  throw new CniError("invalidConfig", `Network "${name}" has no "ipam.type" of another plugin to call`);
}

/** Finds the first regular file of that name in CNI_PATH, and follows links. */
function findPlugin(type: string, directories: readonly string[]): string {
  for (const directory of directories) {
    const path = `${directory}/${type}`;
    if (isFile(path)) return path;
  }
  throw new CniError(
    "invalidConfig",
    `ipam.type: cannot find the plugin "${type}" in CNI_PATH (${directories.join(", ")}): install it there, or correct the name`,
  );
}

/** Returns false also if the file cannot be examined, because the next directory may have it. */
function isFile(path: string): boolean {
  try {
    return findStatus(path)?.kind === "file";
  } catch {
    return false;
  }
}

type Run = ReturnType<typeof spawn>;

function spawnUnlessBusy(path: string, env: Record<string, string | undefined>, stdin: string): Run {
  for (let tries = 0; ; tries++) {
    try {
      return spawn(path, env, stdin);
    } catch (error) {
      const { code, message } = error as Error & { readonly code?: string };
      if (code !== "ETXTBSY" || tries >= busyRetries)
        throw new CniError("delegate", `Cannot start the IPAM plugin ${path}: ${message}`, { cause: error });
      Bun.sleepSync(busyPauseMilliseconds);
    }
  }
}

function spawn(path: string, env: Record<string, string | undefined>, stdin: string) {
  return Bun.spawnSync([path], {
    env,
    stdin: new TextEncoder().encode(stdin),
    stdout: "pipe",
    stderr: "inherit",
    timeout: timeoutMilliseconds,
    killSignal: "SIGKILL",
    maxBuffer: maxOutputBytes,
  });
}

function delegateError(type: string, command: string, run: Run, output: string): CniError {
  const said = parseErrorOutput(output);
  if (said !== undefined) return said;
  const how = run.signalCode === undefined ? `with exit code ${run.exitCode}` : `by ${run.signalCode}`;
  const limit = run.exitedDueToTimeout ? ` after ${timeoutMilliseconds / 1000} s` : "";
  return new CniError(
    "delegate",
    `The IPAM plugin "${type}" ended its ${command} ${how}${limit} and did not say why`,
    {
      details: output.trim(),
    },
  );
}

/** Returns the plugin's own error, or undefined if stdout has none. */
function parseErrorOutput(output: string): CniError | undefined {
  let json: unknown;
  try {
    json = JSON.parse(output);
  } catch {
    return undefined;
  }
  if (!isObject(json) || typeof json.msg !== "string") return undefined;
  const { code, msg, details } = json as JsonObject & { readonly msg: string };
  const known = typeof code === "number" && Number.isInteger(code) && code > 0;
  return new CniError(known ? { code } : "delegate", msg, typeof details === "string" ? { details } : {});
}
