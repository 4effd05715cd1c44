// Removes the node's objects of an attachment, for every way it ends: DEL, GC, an ADD
// that failed, and the agent if none of these came.
import { hostPrefix } from "../net/prefix.ts";
import { localRoutes } from "../plan/mesh/routes.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import type { Attachment, Owner } from "../state/model.ts";
import type { Store } from "../state/store.ts";

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
