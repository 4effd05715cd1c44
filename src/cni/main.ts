// Serves a runtime's call from beginning to end. If the mesh is missing or out of date, it is
// programmed first, so that no pod starts before its traffic can be encrypted. The code for that is
// loaded only then.
import { messageOf } from "../net/error.ts";
import { CniError } from "./error.ts";
import { Connections, Host } from "./host.ts";
import { logVerb, withLog, withLoggedFailures } from "./log.ts";
import { mustProgramMesh, podFamilies } from "./mesh-check.ts";
import { loadPodFirewall, releasePodFirewall } from "./pod-firewall.ts";
import { awaitPublication, isPublicationAwaited } from "./publish-wait.ts";
import type { Request } from "./request.ts";
import { type Answer, type Io, perform, readRequest } from "./skel.ts";
import { makeVerbs } from "./verbs/table.ts";

/** Serves one call in this process; returns the exit code. */
export async function runCni(io: Io): Promise<number> {
  const read = readRequest(io);
  if (typeof read === "number") return read;
  const request = withLog(read);
  const done = await serveRequest(io, request, new Host(new Connections(request.conf.stateDir)));
  await settle(done);
  logCall(done);
  return done.answer.exitCode;
}

/** A request that was served, and its answer printed. */
export interface Done {
  readonly io: Io;
  readonly host: Host;
  readonly request: Request;
  readonly answer: Answer;
  /** The pod may not be used yet: `settle` waits for the other nodes. */
  readonly isWaiting: boolean;
}

/**
 * Serves one request, except for what comes after the answer. Calls on one set of connections take turns.
 * `isMeshReady`: the caller has found that the mesh needs no programming.
 */
export async function serveRequest(io: Io, request: Request, host: Host, isMeshReady = false): Promise<Done> {
  const answer = await answerWith(io, request, host, isMeshReady);
  const { command } = request;
  const isAdded = command === "ADD" && answer.exitCode === 0;
  if (command === "DEL" || command === "GC" || (command === "ADD" && !isAdded))
    await releasePodFirewall(host, request);
  return { io, host, request, answer, isWaiting: isAdded && isPublicationAwaited(host) };
}

/** Writes the call with its duration, up to now, into the log of calls. */
export function logCall({ io, request, answer }: Done): void {
  logVerb(request, answer.errorCode, io.elapsedMs());
}

/** Waits until the other nodes can reach the pod. The pod is there: that its publication cannot be followed is no failure of the ADD. */
export async function settle({ host, request, isWaiting }: Done): Promise<void> {
  if (!isWaiting) return;
  try {
    await awaitPublication(host, request);
  } catch (error) {
    request.warn(`whether the other nodes know the pod's addresses is unknown: ${messageOf(error)}`);
  }
}

async function answerWith(io: Io, request: Request, host: Host, isMeshReady: boolean): Promise<Answer> {
  const verbs = withLoggedFailures(makeVerbs(host));
  if (request.command !== "ADD") return perform(io, request, verbs);
  const obstacle = await prepareAdd(host, request, isMeshReady);
  const refuse = () => {
    throw obstacle;
  };
  return perform(io, request, obstacle === undefined ? verbs : withLoggedFailures({ ...verbs, add: refuse }));
}

/** Returns an error that must fail the ADD: whatever fails before the verb is answered as the verb's failures are. */
async function prepareAdd(host: Host, request: Request, isMeshReady: boolean): Promise<Error | undefined> {
  try {
    const obstacle = isMeshReady ? undefined : await repairMesh(host, request);
    if (obstacle === undefined) await loadPodFirewall(host, request);
    return obstacle;
  } catch (error) {
    return toError(error);
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Programs the mesh if it is out of date. Returns an error that must fail the ADD, and warns of other failures. */
async function repairMesh(host: Host, request: Request): Promise<Error | undefined> {
  try {
    const families = podFamilies(host, request);
    if (!mustProgramMesh(host, families)) return undefined;
    const repair = await import("../reconcile/repair.ts");
    const isNeeded = () => {
      host.forgetState();
      return mustProgramMesh(host, families);
    };
    const { obstacle, warnings } = repair.repairMesh(host.stateDir, Date.now(), { families, isNeeded });
    host.forgetState();
    for (const warning of warnings) request.warn(warning);
    return obstacle === undefined ? undefined : judge(host, request, new Error(obstacle));
  } catch (error) {
    return judge(host, request, toError(error));
  }
}

/** In strict mode no pod starts in plaintext; in permissive mode encryption never stops a pod from starting. */
function judge(host: Host, request: Request, error: Error): Error | undefined {
  if (error.name === "StoreError" || error.name === "ParseError") return error;
  if (host.settings.mode === "strict")
    return new CniError(
      "tryAgain",
      `The mesh cannot be programmed, and strict mode starts no pod without it: ${error.message}`,
      { cause: error },
    );
  request.warn(`the mesh cannot be programmed, traffic to other nodes stays in plaintext: ${error.message}`);
  return undefined;
}
