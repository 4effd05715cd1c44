// How an attachment goes away, for DEL, GC and a failed ADD: kernel first, then
// its rows, so that a crash in between leaves a record of what is still to do.

import { isAbsent } from "../../linux/file.ts";
import { applySteps, type Failure } from "../../reconcile/apply.ts";
import { removalSteps } from "../../reconcile/removal.ts";
import type { Attachment } from "../../state/model.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";
import { restoreRoutes } from "./chained.ts";

/**
 * Takes away all that was made for the attachment; what could not be is
 * returned, and its record stays. `warn` hears what the pod keeps: it is about
 * to end, so that holds nothing up.
 */
export function removePod(host: Host, attachment: Attachment, warn: Request["warn"]): Failure[] {
  const { store, kernel, settings } = host;
  const failures = applySteps(removalSteps(store, settings, attachment), kernel);
  if (attachment.role === "chained") restoreIfThere(host, attachment, warn);
  if (failures.length === 0) store.removeAttachment(attachment);
  return failures;
}

/** Best effort: the pod's namespace is often gone already. */
function restoreIfThere({ kernel }: Host, attachment: Attachment, warn: Request["warn"]): void {
  try {
    restoreRoutes(kernel, attachment, warn);
  } catch (error) {
    if (!isAbsent(error) && !isGone(error)) warn(error instanceof Error ? error.message : String(error));
  }
}

/** EINVAL: a path that is no namespace any more (its mount is gone, the file is left). */
function isGone(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "EINVAL" || code === "ENODEV" || code === "ESRCH";
}
