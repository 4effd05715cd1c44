// GC removes the pods that the runtime no longer knows (CNI specification 1.1.0, "GC"). A missing list
// is no permission to delete anything: cnitool sends none.

import { attempt } from "../../net/error.ts";
import type { Attachment } from "../../state/model.ts";
import { runDelegate } from "../delegate.ts";
import { CniError } from "../error.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";
import { removePod } from "./remove.ts";

/**
 * Removes all that it can, and reports the failures as one error at the end. If the store cannot be
 * read, the stale pods are unknown: another IPAM plugin runs GC all the same, and the store's error is
 * reported.
 */
export function gc(host: Host, request: Request): void {
  const { name, ipam } = request.conf;
  const complaints: string[] = [];
  const warn = (message: string) => request.warn(message);
  const { stale, fault } = findStale(host, request);
  for (const attachment of stale) complaints.push(...complaintsOf(() => removePod(host, attachment, warn)));
  if (ipam?.kind === "delegate") complaints.push(...complaintsOf(() => forward(request)));
  if (fault !== undefined) {
    for (const complaint of complaints) warn(complaint);
    throw fault;
  }
  if (complaints.length > 0)
    throw new CniError(
      "incomplete",
      `GC of network "${name}" could not remove everything: ${complaints.join("; ")}`,
    );
}

interface Stale {
  readonly stale: readonly Attachment[];
  readonly fault?: unknown;
}

function findStale(host: Host, { conf: { validAttachments, name } }: Request): Stale {
  if (validAttachments === undefined) return { stale: [] };
  const valid = new Set(validAttachments.map(({ containerID, ifname }) => `${containerID} ${ifname}`));
  try {
    return {
      stale: host.store.attachments(name).filter((a) => !valid.has(`${a.containerID} ${a.ifname}`)),
    };
  } catch (fault) {
    return { stale: [], fault };
  }
}

function forward(request: Request): readonly [] {
  runDelegate("GC", request);
  return [];
}

function complaintsOf(remove: () => readonly { readonly error: Error }[]): string[] {
  return attempt(
    Error,
    () => remove(),
    (error) => [{ error }],
  ).map(({ error }) => error.message);
}
