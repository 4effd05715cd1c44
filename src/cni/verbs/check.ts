// CHECK fails if the pod is not as ADD left it, and names each missing item (CNI
// specification 1.1.0, "CHECK").
import { runDelegate } from "../delegate.ts";
import { CniError } from "../error.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";
import { findChainedFaults } from "./chained.ts";
import { findStandaloneFaults } from "./standalone.ts";

export function check(host: Host, request: Request): void {
  const { conf, containerID, ifname } = request;
  const faults =
    conf.role === "chained" && conf.ipam === undefined
      ? findChainedFaults(host, request)
      : findStandaloneFaults(host, request);
  if (conf.ipam?.kind === "delegate") runDelegate("CHECK", request);
  if (faults.length > 0)
    throw new CniError(
      "checkFailed",
      `${ifname} of container ${containerID} is not as it was set up: ${faults.join("; ")}`,
    );
}
