// Decides if this machine can run a small cluster. A skip says why; with
// REQUIRE_SMALL_CLUSTER=1 it is a failure.

import { findContainerdAssets } from "../../../scripts/containerd-assets.ts";
import { findClusterAssets } from "../../../scripts/kube-assets.ts";
import { describeUnless, whatIsMissing } from "../../kernel/support/gate.ts";

const needs = [
  ...["unshare", "nsenter", "ip", "openssl", "runc", "iptables", "nft", "busybox", "tcpdump"],
  ...["wireguard-go", "/usr/lib/cni/ptp", "/usr/lib/cni/portmap"],
];
/** For a test or hook on a busy machine. */
const testTimeoutMs = 180_000;

/** describe(), skipped if no cluster can be. */
export function describeCluster(title: string, body: () => void): void {
  const programs = findClusterAssets() && findContainerdAssets();
  const noPrograms = programs ? undefined : "programs are missing: run scripts/small-cluster-assets";
  const missing = whatIsMissing(needs) ?? noPrograms;
  describeUnless(missing, { title, body, requiredBy: "REQUIRE_SMALL_CLUSTER", testTimeoutMs });
}
