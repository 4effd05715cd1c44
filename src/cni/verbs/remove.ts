// Removes an attachment, for DEL, GC and a failed ADD: first from the kernel, then from the store, so
// that a crash in between leaves a record of the remaining work.

import { isAbsent } from "../../linux/file.ts";
import { messageOf } from "../../net/error.ts";
import { podNames } from "../../plan/pods/pod.ts";
import type { Step } from "../../plan/step.ts";
import { applySteps, type Failure } from "../../reconcile/apply.ts";
import { removalSteps, removeRecord, routeRemovals } from "../../reconcile/removal.ts";
import type { Attachment } from "../../state/model.ts";
import { type Host, ownerOf } from "../host.ts";
import type { Request } from "../request.ts";
import { podIps } from "../result.ts";
import { restoreRoutes } from "./chained.ts";
import { removeUnrecorded } from "./unrecorded.ts";

/** The result of the removal of one pod. */
export interface PodEnd {
  /** The recorded role; the configured one if no record can be read. */
  readonly role: Attachment["role"];
  /** A sentence for each thing that could not be removed. */
  readonly errors: readonly Error[];
}

/**
 * Ends the pod of a request, with the record that `find` finds. If the store cannot be
 * used, the objects that the kernel and prevResult show are removed without it, and the
 * record stays. Throws only for a standalone pod, and never StoreError.
 */
export function endPod(host: Host, request: Request, find: () => Attachment | undefined): PodEnd {
  const known: { attachment?: Attachment } = {};
  const roleNow = () => known.attachment?.role ?? request.conf.role;
  try {
    const attachment = find();
    if (attachment !== undefined) known.attachment = attachment;
    const failures =
      attachment === undefined
        ? removeUnknown(host, request)
        : removePod(host, attachment, (message) => request.warn(message));
    return { role: roleNow(), errors: failures.map(({ error }) => error) };
  } catch (error) {
    if (isStoreFault(error)) warnOfRecord(request, error);
    else if (roleNow() === "standalone") throw error;
    else request.warn(`the pod was not removed from the node completely: ${messageOf(error)}`);
    return { role: roleNow(), errors: withoutStore(host, request, known.attachment) };
  }
}

/**
 * Removes all that was made for the attachment. Failures are returned, and the record stays. `warn`
 * gets the changes that stay in the pod: they are no failures, because the pod is about to end.
 */
export function removePod(host: Host, attachment: Attachment, warn: Request["warn"]): Failure[] {
  const { store, kernel, settings } = host;
  const failures = applySteps(removalSteps(store, settings, attachment), kernel);
  if (attachment.role === "chained") restoreIfThere(host, attachment, warn);
  if (failures.length === 0) removeRecord(store, settings, kernel, attachment);
  return failures;
}

/** Removes a pod without a record: it was never ours, or the store was lost. The names of the objects that ADD makes are known. */
function removeUnknown(host: Host, request: Request): Failure[] {
  const steps: Step[] = [];
  if (request.conf.role === "standalone") steps.push({ do: "deleteLink", dev: podNames(request).hostDev });
  const { prevResult } = request.conf;
  const ips = prevResult === undefined ? [] : podIps(prevResult, request.ifname);
  steps.push(...routeRemovals(host.store, host.settings, { ...ownerOf(request), ips }));
  return steps.length === 0 ? [] : applySteps(steps, host.kernel);
}

/** A chained pod's removal reports its failures and never throws. */
function withoutStore(host: Host, request: Request, attachment: Attachment | undefined): Error[] {
  try {
    return removeUnrecorded(host, request, attachment).map(({ error }) => error);
  } catch (error) {
    return [error instanceof Error ? error : new Error(String(error))];
  }
}

/** True for errors of the store. A ParseError means a setting that another version has written. */
function isStoreFault(error: unknown): error is Error {
  return error instanceof Error && (error.name === "StoreError" || error.name === "ParseError");
}

function warnOfRecord({ warn, ifname, containerID }: Request, { message }: Error): void {
  warn(
    `The store cannot be used, so the record of ${ifname} of container ${containerID} stays until the agent, GC or a later DEL ends it: ${message}`,
  );
}

/** Restores routes if it can: the pod's namespace is often gone already. */
function restoreIfThere(host: Host, attachment: Attachment, warn: Request["warn"]): void {
  try {
    restoreRoutes(host, attachment, warn);
  } catch (error) {
    if (!isAbsent(error) && !isGone(error)) warn(messageOf(error));
  }
}

/** True for a path that is no namespace any more. EINVAL means that its mount is gone and the file is left. */
function isGone(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "EINVAL" || code === "ENODEV" || code === "ESRCH";
}
