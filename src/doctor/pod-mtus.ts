// Reads from the pods' namespaces how large a packet to other nodes they send at most. Pods that have
// ended meanwhile are left out.
import { isNetnsAbsent } from "../linux/netns.ts";
import { readMainRoutes } from "../netlink/mtu.ts";
import type { Rtnl } from "../netlink/rtnl.ts";
import { readPodMtu, routesAbove } from "../plan/pods/mtu.ts";
import type { Kernel } from "../reconcile/kernel.ts";
import { isPodOf } from "../reconcile/pods.ts";
import type { Attachment } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { PodMtu } from "./facts.ts";

/** Container runtimes shorten an ID to this length. */
const shownIdLength = 12;

/** Throws NetlinkError, SysError. */
export function readPodMtus(store: Store, kernel: Kernel): PodMtu[] {
  return store.attachments().flatMap((attachment) => {
    try {
      const bytes = readLargest(kernel.enterPod(attachment.netns), attachment);
      if (bytes === undefined) return [];
      const { configured } = readPodMtu(attachment.restore);
      return [{ pod: describe(attachment), bytes, byConfiguration: configured !== undefined }];
    } catch (error) {
      if (isNetnsAbsent(error)) return [];
      throw error;
    } finally {
      kernel.leavePod();
    }
  });
}

/** Returns undefined if the pod has no interface of that name, or no route off the node. */
function readLargest(pod: Rtnl, attachment: Attachment): number | undefined {
  const { ifname, role } = attachment;
  const link = pod.findLink(ifname);
  if (link === undefined || !isPodOf(attachment, pod)) return undefined;
  if (role === "standalone") return link.mtu;
  const leaving = routesAbove(readMainRoutes(pod, ifname), link, 0);
  return leaving.length === 0
    ? undefined
    : Math.max(...leaving.map(({ metrics }) => metrics?.mtu ?? link.mtu));
}

function describe({ ifname, containerID }: Attachment): string {
  return `${ifname} of container ${containerID.slice(0, shownIdLength)}`;
}
