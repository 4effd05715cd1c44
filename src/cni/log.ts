// Writes the plugin's logs. plugin.log has failures and warnings for an administrator, because
// runtimes keep a plugin's stderr only sometimes. It has one line for each event:
//
//   2026-11-21T01:02:03.456Z ADD pods 3f2a91b04d5e eth0: warning: unknown key "mut"; did you mean "mtu"?
//
// calls.log has the result and the duration of every call, for the agent's metrics. The logs are
// bounded: a file that reaches its size becomes plugin.log.1. A log that cannot be written never
// fails a call.
import { appendFile, findStatus, rename } from "../linux/file.ts";
import { callLogName, formatCall, isCountedVerb } from "../net/call-log.ts";
import { messageOf } from "../net/error.ts";
import { printable } from "../net/printable.ts";
import { findTrace } from "./error.ts";
import type { Request } from "./request.ts";
import type { Verbs } from "./skel.ts";

const maxLogBytes = 1024 * 1024;
/** `crictl` and `ctr` shorten an ID to this length. */
const containerCharacters = 12;
/** The longest event, in characters. */
const maxEventLength = 4000;

/** Returns the request with warnings that also go into the log. */
export function withLog(request: Request): Request {
  const warn = (message: string) => {
    request.warn(message);
    append(request, `warning: ${message}`);
  };
  return { ...request, warn };
}

/** Returns the verbs with failures that also go into the log. */
export function withLoggedFailures(verbs: Verbs): Verbs {
  const logged =
    <Result>(verb: (request: Request) => Result) =>
    (request: Request): Result => {
      try {
        return verb(request);
      } catch (error) {
        append(request, `error: ${findTrace(error) ?? messageOf(error)}`);
        throw error;
      }
    };
  const { add, del, check, status, gc } = verbs;
  return { add: logged(add), del: logged(del), check: logged(check), status: logged(status), gc: logged(gc) };
}

/** Records the result of a call. `durationMs`: since the process of the call began. */
export function logVerb(request: Request, errorCode: number | undefined, durationMs: number): void {
  const { command: verb, conf } = request;
  if (!isCountedVerb(verb)) return;
  const record = { verb, durationMs, ...(errorCode === undefined ? {} : { errorCode }) };
  appendLine(`${conf.stateDir}/${callLogName}`, formatCall(new Date().toISOString(), record));
}

/** Writes the trace of an error that ended the process outside of a verb. `subject`: what the process was to do. */
export function logTrace(stateDir: string, subject: string, trace: string): void {
  appendEvent(stateDir, `${subject}: error: ${trace}`);
}

function append(request: Request, event: string): void {
  const { command, conf, containerID, ifname } = request;
  const subject = [command, conf.name, containerID.slice(0, containerCharacters), ifname].filter(
    (word) => word !== "",
  );
  appendEvent(conf.stateDir, `${subject.join(" ")}: ${event}`);
}

function appendEvent(stateDir: string, event: string): void {
  const text = printable(event.replaceAll("\n", " "), maxEventLength);
  appendLine(`${stateDir}/plugin.log`, `${new Date().toISOString()} ${text}\n`);
}

/** Appends by one write(2), so that lines of concurrent processes stay whole. */
function appendLine(path: string, line: string): void {
  try {
    if ((findStatus(path)?.sizeBytes ?? 0) > maxLogBytes) rename(path, `${path}.1`);
    appendFile(path, line);
  } catch {
    // The disk may be what is wrong; the caller has the event on stdout or stderr.
  }
}
