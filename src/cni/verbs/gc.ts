// GC: what the runtime no longer knows goes away (CNI specification 1.1.0,
// "GC"). A missing list is no permission to delete anything: cnitool sends none.

import { runDelegate } from "../delegate.ts";
import { CniError } from "../error.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";
import { removePod } from "./remove.ts";

/** Removes all it can; what failed is one error at the end. */
export function gc(host: Host, request: Request): void {
  const { validAttachments, name, ipam } = request.conf;
  const warn = (message: string) => request.warn(message);
  const complaints: string[] = [];
  if (validAttachments !== undefined) {
    const valid = new Set(validAttachments.map(({ containerID, ifname }) => `${containerID} ${ifname}`));
    const stale = host.store.attachments(name).filter((a) => !valid.has(`${a.containerID} ${a.ifname}`));
    for (const attachment of stale) complaints.push(...attempt(() => removePod(host, attachment, warn)));
  }
  if (ipam?.kind === "delegate") complaints.push(...attempt(() => forward(request)));
  if (complaints.length > 0)
    throw new CniError(
      "incomplete",
      `GC of network "${name}" could not remove everything: ${complaints.join("; ")}`,
    );
}

function forward(request: Request): readonly [] {
  runDelegate("GC", request);
  return [];
}

function attempt(remove: () => readonly { readonly error: Error }[]): string[] {
  try {
    return remove().map(({ error }) => error.message);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}
