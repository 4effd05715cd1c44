// Serves a runtime's call from beginning to end. If the mesh is missing or out of date, it is
// programmed first, so that no pod starts before its traffic can be encrypted. The code for that is
// loaded only then.
import { CniError } from "./error.ts";
import { Host } from "./host.ts";
import { logVerb, withLog, withLoggedFailures } from "./log.ts";
import { isMeshBehind, podFamilies } from "./mesh-check.ts";
import { loadPodFirewall, releasePodFirewall } from "./pod-firewall.ts";
import type { Request } from "./request.ts";
import { type Answer, type Io, perform, readRequest } from "./skel.ts";
import { makeVerbs } from "./verbs/table.ts";

/** Serves one call; returns the exit code. */
export async function runCni(io: Io): Promise<number> {
  const read = readRequest(io);
  if (typeof read === "number") return read;
  const request = withLog(read);
  const { exitCode, errorCode } = await serve(io, request);
  // Nanoseconds since the process began.
  logVerb(request, errorCode, Bun.nanoseconds() / 1e6);
  return exitCode;
}

async function serve(io: Io, request: Request): Promise<Answer> {
  const host = new Host(request.conf.stateDir);
  const answer = await answerWith(io, request, host);
  const { command } = request;
  if (command === "DEL" || command === "GC" || (command === "ADD" && answer.exitCode !== 0))
    await releasePodFirewall(host, request);
  return answer;
}

async function answerWith(io: Io, request: Request, host: Host): Promise<Answer> {
  const verbs = withLoggedFailures(makeVerbs(host));
  if (request.command !== "ADD") return perform(io, request, verbs);
  const obstacle = await repairMesh(host, request);
  const refuse = () => {
    throw obstacle;
  };
  await loadPodFirewall(host, request);
  return perform(io, request, obstacle === undefined ? verbs : withLoggedFailures({ ...verbs, add: refuse }));
}

/** Programs the mesh if it is out of date. Returns an error that must fail the ADD, and warns of other failures. */
async function repairMesh(host: Host, request: Request): Promise<Error | undefined> {
  try {
    const families = podFamilies(host, request);
    if (!isMeshBehind(host, families)) return undefined;
    const repair = await import("../reconcile/repair.ts");
    const { obstacle, warnings } = repair.repairMesh(host.stateDir, Date.now(), families);
    for (const warning of warnings) request.warn(warning);
    return obstacle === undefined ? undefined : judge(host, request, new Error(obstacle));
  } catch (error) {
    return judge(host, request, error instanceof Error ? error : new Error(String(error)));
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
