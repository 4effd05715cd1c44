// Removes the node's objects of an attachment, for every way it ends: DEL, GC, an ADD
// that failed, and the agent if none of these came.
//
// A sync may have read the record before it went, and make the pod's routes anew behind the removal. So the
// end of a pod looks again when its record goes, and a sync when its routes are made. Each does so while it
// alone may write to the store, so that the later one of the two finds them, and no other pod has the address yet.
import { hostPrefix } from "../net/prefix.ts";
import { localRoutes } from "../plan/mesh/routes.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import { StoreError } from "../state/error.ts";
import type { Attachment, Owner } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import { applySteps } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import type { MeshPlan } from "./mesh-plan.ts";

/** The kernel comes first, then the row, so that a crash in between leaves a record of what is still to do. */
export function removalSteps(store: Store, settings: Settings, attachment: Attachment): Step[] {
  const { hostDev } = attachment;
  const link: Step[] = hostDev === undefined ? [] : [{ do: "deleteLink", dev: hostDev }];
  return [...link, ...routeRemovals(store, settings, attachment)];
}

/** Plans the removal of those routes that keep its addresses out of the tunnel and that are its alone. */
export function routeRemovals(
  store: Store,
  settings: Settings,
  attachment: Owner & Pick<Attachment, "ips">,
): Step[] {
  return addressesOnlyOf(store, attachment)
    .flatMap((ip) => localRoutes(settings, hostPrefix(ip)))
    .map((route) => ({ do: "deleteRoute", route }));
}

/** The attachment's addresses that no other attachment has: a stale one must not take a live pod's routes away. */
export function addressesOnlyOf(store: Store, attachment: Owner & Pick<Attachment, "ips">): string[] {
  return attachment.ips.filter((ip) => !store.isHeldByAnother(attachment, ip));
}

/** Removes the record of an attachment whose objects are gone, and routes that a sync has made since. Throws StoreError. */
export function removeRecord(store: Store, settings: Settings, kernel: Kernel, attachment: Attachment): void {
  store.transaction(() => {
    applySteps(routeRemovals(store, settings, attachment), kernel);
    store.removeAttachment(attachment);
  });
}

/**
 * Removes the routes that a sync has made for pods which ended since it read the store. If the store cannot be
 * locked, the sync is complete all the same, and the next one removes them.
 */
export function takeBackRoutes({ settings, podIPs, steps }: MeshPlan, store: Store, kernel: Kernel): void {
  const made = new Set(steps.flatMap((step) => (step.do === "replaceRoute" ? [step.route.dst] : [])));
  const pods = podIPs.filter((ip) => made.has(hostPrefix(ip)));
  if (pods.length === 0) return;
  try {
    store.transaction(() => {
      const there = new Set(store.podIPs());
      const ended = pods.filter((ip) => !there.has(ip));
      const routes = ended.flatMap((ip) => localRoutes(settings, hostPrefix(ip)));
      applySteps(
        routes.map((route): Step => ({ do: "deleteRoute", route })),
        kernel,
      );
    });
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
  }
}
