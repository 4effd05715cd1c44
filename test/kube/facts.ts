// Facts for the status of a node about which nothing is missing.
import type { StatusFacts } from "../../src/kube/conditions.ts";

export const covered: Omit<StatusFacts, "up" | "mode" | "peers" | "keyCreatedAtMs"> = {
  ...{ unencrypted: [], silent: [], unproven: [], unprovenAddresses: [], portGaps: [], transit: [] },
  ...{ refusedSources: [], lossy: [] },
  ...{ contested: [], unknownPods: [], refusedCIDRs: [], meshWarning: "" },
};
