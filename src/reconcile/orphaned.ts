// Observes the network namespaces of attachments whose pod may have ended without a DEL, and releases
// such attachments at the time that plan/pods/orphaned.ts decides. An attachment whose link or route
// shows that the pod lives is not released, even if its path is gone.

import { findStatus } from "../linux/file.ts";
import { findNetnsIdentity, inspectNetns, isInitialPidNamespace, ownNetns } from "../linux/netns.ts";
import { SysError } from "../linux/syscall.ts";
import { familyOf } from "../net/ip.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { NetnsObservation, SeenAttachment } from "../plan/pods/orphaned.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Attachment } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import { applySteps } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import { addressesOnlyOf, removalSteps } from "./removal.ts";

const mainTable = 254;
/** The path that runtimes without named namespaces pass; the number is that of a process of the pod. */
const ofProcess = /^\/proc\/\d+\/(task\/\d+\/)?ns\/net$/;

export interface ObservedAttachment extends SeenAttachment {
  readonly attachment: Attachment;
}

/** Throws StoreError. */
export function observeAttachments(store: Store): ObservedAttachment[] {
  return store.attachments().map((attachment) => {
    const { netns, createdAtMs, network, containerID, ifname } = attachment;
    return {
      key: JSON.stringify([network, containerID, ifname, netns, createdAtMs]),
      directory: directoryOf(netns),
      ...{ createdAtMs, attachment, netns: observeNetns(netns) },
    };
  });
}

/** Observes the path of a pod's namespace, as this process sees it. */
export function observeNetns(path: string): NetnsObservation {
  try {
    if (!path.startsWith("/")) return "unknown";
    if (ofProcess.test(path)) return observeNetnsOfProcess(path);
    const seen = inspectNetns(path);
    if (seen !== "absent") return seen;
    return findStatus(directoryOf(path))?.kind === "directory" ? "absent" : "unknown";
  } catch (error) {
    if (error instanceof SysError) return "unknown";
    throw error;
  }
}

/** A container numbers processes its own way, and some mounts of /proc hide foreign processes: then nothing is known. */
function observeNetnsOfProcess(path: string): NetnsObservation {
  if (!isInitialPidNamespace() || findStatus("/proc/1") === undefined) return "unknown";
  const seen = inspectNetns(path);
  // No pod has the node's own: the number is another process's now.
  return seen === "namespace" && findNetnsIdentity(path) === findNetnsIdentity(ownNetns) ? "absent" : seen;
}

function directoryOf(path: string): string {
  return ofProcess.test(path) ? "/proc" : path.slice(0, path.lastIndexOf("/")) || "/";
}

export interface ReleaseContext {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly settings: Settings;
}

export interface Release {
  readonly isReleased: boolean;
  /** The reason against a release, as a sentence. It is absent, too, if the attachment ended or came back meanwhile. */
  readonly obstacle?: string;
}

/**
 * Releases a pod that is gone, as DEL does. Another IPAM plugin keeps an address that it gave, until a
 * DEL or GC. Throws StoreError, NetlinkError.
 */
export function releaseAttachment(
  { store, kernel, settings }: ReleaseContext,
  attachment: Attachment,
): Release {
  const life = findLife(store, kernel, attachment);
  if (life !== undefined) return { isReleased: false, obstacle: life };
  // An ADD of the same container has written its record before this, and is found, or waits for its end.
  return store.transaction(() => {
    const isSame = JSON.stringify(store.findAttachment(attachment)) === JSON.stringify(attachment);
    if (!isSame || observeNetns(attachment.netns) === "namespace") return { isReleased: false };
    const [failure] = applySteps(removalSteps(store, settings, attachment), kernel);
    if (failure !== undefined) return { isReleased: false, obstacle: failure.error.message };
    return { isReleased: store.removeAttachment(attachment) };
  });
}

/** A namespace outlives its path while processes are in it; with it go the node's end of its links, and routes over those. */
function findLife(store: Store, { host }: Kernel, attachment: Attachment): string | undefined {
  const { hostDev } = attachment;
  if (hostDev !== undefined && host.hasLink(hostDev)) return `its link ${hostDev} is still there`;
  const prefixes = addressesOnlyOf(store, attachment).map(hostPrefix);
  for (const family of new Set(prefixes.map(familyOf))) {
    const routes = host.routes({ family, table: mainTable, type: "unicast" });
    const route = routes.find(({ dst, dev }) => dev !== undefined && prefixes.includes(dst));
    if (route !== undefined) return `the node still has the route ${route.dst} dev ${route.dev}`;
  }
  return undefined;
}
