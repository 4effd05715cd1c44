// STATUS says whether an ADD can succeed now (CNI specification 1.1.0, "STATUS"). Runtimes call it
// every five seconds, so it examines only conditions that would stop an ADD.
import { findStateFault } from "../../state/probe.ts";
import { runDelegate } from "../delegate.ts";
import { CniError } from "../error.ts";
import type { Request } from "../request.ts";

/** Throws CniError 50 with the reason. */
export function status(request: Request): void {
  const fault = findStateFault(request.conf.stateDir);
  if (fault !== undefined) throw new CniError("unavailable", fault.message, { cause: fault });
  if (request.conf.ipam?.kind === "delegate") runDelegate("STATUS", request);
}
