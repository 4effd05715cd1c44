// Refuses networks that were typed and that hold hosts, as the range of a whole cloud network does,
// before anything changes.

import { judgeClusterCIDRs } from "../plan/peers/cluster-cidrs.ts";
import { knownLandmarks } from "../plan/peers/landmarks.ts";
import { refusePodCIDRs } from "../plan/pods/pod-cidrs.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { observeLandmarks } from "../reconcile/landmarks.ts";
import type { Session } from "../reconcile/session.ts";
import { apiServerIPs } from "../sources/kube/cluster-addresses.ts";
import type { Identity } from "../state/model.ts";
import { type Given, UsageError } from "./command.ts";
import { settingFlag } from "./setting-flags.ts";
import { oneLine } from "./style.ts";

/** `node`, `settings`: as they are to be. Values that were stored before and not typed are not checked. Throws UsageError. */
export function refuseHosts(
  { store, kernel, nodes }: Session,
  settings: Settings,
  node: Pick<Identity, "nodeIPs" | "endpoints" | "podCIDRs">,
  given: Given,
): void {
  const around = observeLandmarks(settings, kernel);
  const apiServers = apiServerIPs(settings.kubeconfig, process.env);
  const own = knownLandmarks({ node, peers: [], settings, apiServers });
  const { peers } = nodes.intent().ownership;
  const all = knownLandmarks({ node, peers, settings, apiServers });
  const isAddressed = ["pod-cidr", "node-ip", "endpoint"].some((flag) => given.values.has(flag));
  const arePodsTyped = isAddressed || store.identity() === undefined;
  const areCIDRsTyped = given.values.has(settingFlag("clusterCIDRs"));
  const cidrs = areCIDRsTyped ? judgeClusterCIDRs(settings.clusterCIDRs, [...all, ...around]).refusals : [];
  const refused = [
    ...(arePodsTyped ? refusePodCIDRs(node.podCIDRs, [...own, ...around]) : []),
    ...cidrs.map(({ reason }) => reason),
  ];
  if (refused.length > 0)
    throw new UsageError(
      `these hold what is no pod's, so nothing was changed:\n  ${refused.map(oneLine).join("\n  ")}`,
    );
}
