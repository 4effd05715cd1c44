// DEL works from the store: it needs neither prevResult nor the namespace,
// succeeds for pods it never saw and as often as it is called (CNI
// specification 1.1.0, "DEL").
//
// libcni stops a chain at the first DEL that fails, and the plugins behind it then
// keep the pod's address. So a chained DEL never fails for what went wrong here: it
// warns. A main plugin's DEL fails only while the pod's link or route is still there.
// If the store cannot be used, the record stays, and with it the lease: an address
// that DEL could not give back is not given to another pod. The agent, GC or a later
// DEL ends the record.

import { type Host, ownerOf } from "../host.ts";
import type { Request } from "../request.ts";
import { releaseAddresses } from "./addresses.ts";
import { endPod } from "./remove.ts";

export function del(host: Host, request: Request): void {
  const { role, errors } = endPod(host, request, () => host.store.findAttachment(ownerOf(request)));
  for (const error of errors) {
    if (role === "standalone") throw error;
    request.warn(error.message);
  }
  releaseAddresses(request);
}
