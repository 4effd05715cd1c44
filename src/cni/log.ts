// The plugin's logs. plugin.log: what went wrong or was odd, for whoever looks at
// a node at 3 a.m., as runtimes keep a plugin's stderr only sometimes. One line
// an event:
//
//   2026-11-21T01:02:03.456Z ADD pods 3f2a91b04d5e eth0: warning: unknown key "mut"; did you mean "mtu"?
//
// calls.log: how every call ended and how long it took, for the agent's metrics.
// Bounded: past its size a file becomes plugin.log.1. A log that cannot be
// written never fails a call.
import { appendFile, findStatus, rename } from "../linux/file.ts";
import { callLogName, formatCall, isCountedVerb } from "../net/call-log.ts";
import { messageOf } from "../net/error.ts";
import { printable } from "../net/printable.ts";
import type { Request } from "./request.ts";
import type { Verbs } from "./skel.ts";

const maxLogBytes = 1024 * 1024;
/** As `crictl` and `ctr` abbreviate. */
const containerCharacters = 12;
/** Of an event, in characters. */
const maxEventLength = 4000;

/** The request with warnings that also go into the log. */
export function withLog(request: Request): Request {
  const warn = (message: string) => {
    request.warn(message);
    append(request, `warning: ${message}`);
  };
  return { ...request, warn };
}

/** The verbs with failures that also go into the log. */
export function withLoggedFailures(verbs: Verbs): Verbs {
  const logged =
    <Result>(verb: (request: Request) => Result) =>
    (request: Request): Result => {
      try {
        return verb(request);
      } catch (error) {
        append(request, `error: ${messageOf(error)}`);
        throw error;
      }
    };
  const { add, del, check, status, gc } = verbs;
  return { add: logged(add), del: logged(del), check: logged(check), status: logged(status), gc: logged(gc) };
}

/** Notes how a call ended. `durationMs`: since the process began. */
export function logVerb(request: Request, errorCode: number | undefined, durationMs: number): void {
  const { command: verb, conf } = request;
  if (!isCountedVerb(verb)) return;
  const record = { verb, durationMs, ...(errorCode === undefined ? {} : { errorCode }) };
  appendLine(`${conf.stateDir}/${callLogName}`, formatCall(new Date().toISOString(), record));
}

function append(request: Request, event: string): void {
  const { command, conf, containerID, ifname } = request;
  const subject = [command, conf.name, containerID.slice(0, containerCharacters), ifname].filter(
    (word) => word !== "",
  );
  const text = printable(`${subject.join(" ")}: ${event.replaceAll("\n", " ")}`, maxEventLength);
  appendLine(`${conf.stateDir}/plugin.log`, `${new Date().toISOString()} ${text}\n`);
}

/** One write(2), so that lines of processes that write at once stay whole. */
function appendLine(path: string, line: string): void {
  try {
    if ((findStatus(path)?.sizeBytes ?? 0) > maxLogBytes) rename(path, `${path}.1`);
    appendFile(path, line);
  } catch {
    // The disk may be what is wrong; the caller has the event on stdout or stderr.
  }
}
