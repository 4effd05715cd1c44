// Live pods follow the tunnel's MTU: the MTU that ADD gave a pod is changed to that of the devices.
// Each pod is read, and written only if something differs; plan/pods/mtu.ts decides the values.
import { isNetnsAbsent } from "../linux/netns.ts";
import { readMainRoutes } from "../netlink/mtu.ts";
import type { Rtnl } from "../netlink/rtnl.ts";
import { mergeChanged, planLinkMtus, planRouteMtus, readPodMtu } from "../plan/pods/mtu.ts";
import type { Step } from "../plan/step.ts";
import type { Attachment } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import { applySteps } from "./apply.ts";
import type { Kernel } from "./kernel.ts";

/** The addresses that ADD gave the pod come first, even if its own processes add further ones. */
const maxAddresses = 1024;

export interface PodReport {
  /** Pods that were there and follow the tunnel's MTU. */
  readonly pods: number;
  /** The steps in the pods and for them. */
  readonly steps: readonly Step[];
  /** The requests that have changed something. */
  readonly writes: number;
  /** A sentence each, one a pod at most. */
  readonly failures: readonly string[];
  /** The pods for which there was no time. */
  readonly rest: readonly Attachment[];
}

/** The pods of this turn, and its time limit. A pod that has begun is finished. */
export interface PodTurn {
  readonly attachments: readonly Attachment[];
  readonly budgetMs: number;
}

/**
 * Gives live pods the MTU `mtu`, but those whose network configuration has one. A pod that
 * cannot be changed does not keep the other pods from being changed. Without `turn` all are visited.
 */
export function syncPods(store: Store, kernel: Kernel, mtu: number, turn?: PodTurn): PodReport {
  const attachments = turn?.attachments ?? store.attachments();
  const deadlineMs = performance.now() + (turn?.budgetMs ?? Number.POSITIVE_INFINITY);
  const writesBefore = kernel.writes;
  const steps: Step[] = [];
  const failures: string[] = [];
  let pods = 0;
  let turns = 0;
  for (const attachment of attachments) {
    if (turns > 0 && performance.now() >= deadlineMs) break;
    turns++;
    const fail = (error: Error) => {
      if (!hasEnded(kernel, attachment)) failures.push(explain(attachment, mtu, error));
    };
    try {
      const planned = planPod(store, kernel, attachment, mtu);
      if (planned === undefined) continue;
      pods++;
      steps.push(...planned);
      for (const { error } of applySteps(planned, kernel).slice(0, 1)) fail(error);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      fail(error);
    } finally {
      kernel.leavePod();
    }
  }
  return { pods, steps, writes: kernel.writes - writesBefore, failures, rest: attachments.slice(turns) };
}

/**
 * True if the pod has no interface any more. A DEL may have removed it since it was found, at any step. A pod that
 * cannot be looked at has not ended.
 */
function hasEnded(kernel: Kernel, { netns, ifname }: Attachment): boolean {
  try {
    return enterIfThere(kernel, netns)?.findLink(ifname) === undefined;
  } catch {
    return false;
  }
}

function explain({ ifname, containerID }: Attachment, mtu: number, { message }: Error): string {
  return `Cannot give ${ifname} of container ${containerID} the tunnel's MTU of ${mtu}: ${message}`;
}

/** Plans the steps for a pod whose namespace is entered; undefined if it is gone or decides for itself. */
function planPod(store: Store, kernel: Kernel, attachment: Attachment, mtu: number): Step[] | undefined {
  const { configured, routes: known = [] } = readPodMtu(attachment.restore);
  if (configured !== undefined) return undefined;
  const pod = enterIfThere(kernel, attachment.netns);
  const link = pod?.findLink(attachment.ifname);
  if (pod === undefined || link === undefined || !isPodOf(attachment, pod)) return undefined;
  if (attachment.role === "chained") {
    const { steps, changed } = planRouteMtus(readMainRoutes(pod, link.name), link, known, mtu);
    // The earlier values are on record before they change; after a DEL there is nothing to record.
    if (changed.length > known.length && !record(store, attachment, changed)) return undefined;
    return [...steps];
  }
  const host = attachment.hostDev === undefined ? undefined : kernel.host.findLink(attachment.hostDev);
  return host === undefined ? undefined : planLinkMtus({ pod: link, host }, attachment.ips, mtu);
}

/** True if the namespace at a recorded path still is the pod's: a process ID is soon used again. */
export function isPodOf({ ifname, ips }: Attachment, pod: Rtnl): boolean {
  return pod.addresses(ifname, maxAddresses).some(({ ip }) => ips.includes(ip));
}

/** False if the attachment is gone. */
function record(store: Store, attachment: Attachment, changed: Parameters<typeof mergeChanged>[1]): boolean {
  return store.transaction(() => {
    const now = store.findAttachment(attachment);
    if (now === undefined) return false;
    const routes = mergeChanged(readPodMtu(now.restore).routes ?? [], changed);
    store.putAttachment({ ...now, restore: { ...(now.restore as object), routes } });
    return true;
  });
}

/** Undefined if the pod has ended: no such path, or one that is no namespace any more. */
function enterIfThere(kernel: Kernel, netns: string): Rtnl | undefined {
  try {
    return kernel.enterPod(netns);
  } catch (error) {
    if (isNetnsAbsent(error)) return undefined;
    throw error;
  }
}
