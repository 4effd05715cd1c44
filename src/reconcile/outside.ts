// Finds the attached pods that the tunnel cannot carry, as the kernel shows them now: a pod may have
// been attached before such pods were judged, or be changed later. Pods that have ended are left out.
import { isNetnsAbsent } from "../linux/netns.ts";
import { findBypass, type Outside, readOutside } from "../plan/pods/far-end.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Attachment } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { Kernel } from "./kernel.ts";
import { observePodConnection } from "./pod-connection.ts";

/** Throws StoreError, NetlinkError, SysError. */
export function observeOutside(settings: Settings, store: Store, kernel: Kernel): Outside[] {
  return store.attachments().flatMap((attachment) => {
    const known = readOutside(attachment.restore);
    const ips = [...attachment.ips, ...(known?.ips ?? [])];
    if (ips.length === 0) return [];
    const found =
      attachment.role === "chained" ? observeBypass(settings, kernel, { ...attachment, ips }) : "unknown";
    if (found === "ended") return [];
    if (found !== "unknown") return { kind: "bypass", ips, why: found.why };
    return known ?? [];
  });
}

type Observed = { readonly why: string } | "unknown" | "ended";

/** "unknown" if nothing speaks against it, or no interface shows. */
function observeBypass(settings: Settings, kernel: Kernel, place: Attachment): Observed {
  try {
    const pod = kernel.enterPod(place.netns);
    const connection = observePodConnection(kernel.host, pod, settings, place);
    // The namespace at a recorded path may belong to another pod by now.
    const isPod =
      connection.link !== undefined && pod.addresses(place.ifname).some(({ ip }) => place.ips.includes(ip));
    const why = isPod ? findBypass(connection) : undefined;
    return why === undefined ? "unknown" : { why };
  } catch (error) {
    if (isNetnsAbsent(error)) return "ended";
    throw error;
  } finally {
    kernel.leavePod();
  }
}
