// DEL works from the store: it needs neither prevResult nor the namespace,
// succeeds for pods it never saw and as often as it is called (CNI
// specification 1.1.0, "DEL").

import { podNames } from "../../plan/pod.ts";
import type { Step } from "../../plan/step.ts";
import { applySteps } from "../../reconcile/apply.ts";
import { routeRemovals } from "../../reconcile/removal.ts";
import { type Host, ownerOf } from "../host.ts";
import type { Request } from "../request.ts";
import { podIps } from "../result.ts";
import { releaseAddresses } from "./addresses.ts";
import { removePod } from "./remove.ts";

export function del(host: Host, request: Request): void {
  const attachment = host.store.findAttachment(ownerOf(request));
  const failures =
    attachment === undefined
      ? removeUnknown(host, request)
      : removePod(host, attachment, (message) => request.warn(message));
  // A chained plugin that fails here keeps the main plugin from releasing the pod's address.
  for (const { error } of failures) {
    if (attachment?.role === "standalone") throw error;
    request.warn(error.message);
  }
  releaseAddresses(request);
}

/** No record: never ours, or the store was lost. What ADD would have made can still be named. */
function removeUnknown(host: Host, request: Request) {
  const steps: Step[] = [];
  if (request.conf.role === "standalone") steps.push({ do: "deleteLink", dev: podNames(request).hostDev });
  const { prevResult } = request.conf;
  const ips = prevResult === undefined ? [] : podIps(prevResult, request.ifname);
  steps.push(...routeRemovals(host.store, host.settings, { ...ownerOf(request), ips }));
  return steps.length === 0 ? [] : applySteps(steps, host.kernel);
}
