// Does an ADD have to program the mesh first? A few reads answer; an ADD on a
// node whose agent or last sync did its work goes on at once.
import { slots } from "../plan/path.ts";
import { slotDevice } from "../plan/settings.ts";
import { isProgrammed } from "../reconcile/programmed.ts";
import type { Host } from "./host.ts";

/** True where the mesh is wanted, and not programmed to the present intent, boot and namespace, or a device is missing. */
export function isMeshBehind({ store, settings, kernel, bootId }: Host): boolean {
  if (!(store.identity()?.up ?? false)) return false;
  if (!isProgrammed(store.programmed(), store.generation, bootId)) return true;
  return !slots.every((slot) => kernel.host.hasLink(slotDevice(settings, slot)));
}
