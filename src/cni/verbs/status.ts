// STATUS: can an ADD succeed now (CNI specification 1.1.0, "STATUS")? Runtimes
// ask every five seconds, so it looks only at what would stop an ADD.
import { runDelegate } from "../delegate.ts";
import { CniError } from "../error.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";

/** Throws CniError 50 with the reason. */
export function status(host: Host, request: Request): void {
  try {
    // Reads the file's first page and the one row that every ADD needs.
    void host.store.generation;
  } catch (error) {
    throw new CniError("unavailable", (error as Error).message, { cause: error });
  }
  if (request.conf.ipam?.kind === "delegate") runDelegate("STATUS", request);
}
