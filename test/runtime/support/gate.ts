// Decides if this machine can run the tests with real container runtimes. A skip says
// why; with REQUIRE_RUNTIME=1 it is a failure.

import { findRuntimeAssets } from "../../../scripts/runtime-assets.ts";
import { describeUnless, whatIsMissing } from "../../kernel/support/gate.ts";
import { binary } from "../../lab/paths.ts";

const needs = [
  "unshare",
  "nsenter",
  "ip",
  "wg",
  "tcpdump",
  "iptables",
  "busybox",
  "jq",
  "/usr/lib/cni/ptp",
  binary,
];
const programs = { containerd: ["containerd", "ctr", "runc"], podman: ["podman", "runc"], cnitool: [] };
/** For a test or hook on a busy machine. */
const testTimeoutMs = 60_000;

/** describe(), skipped if the runtime or a client of it is missing. */
export function describeRuntime(runtime: keyof typeof programs, title: string, body: () => void): void {
  const noClients = findRuntimeAssets()
    ? undefined
    : "no crictl, cnitool and current reference plugins: run scripts/runtime-assets";
  const missing =
    whatIsMissing([...needs, ...programs[runtime]]) ?? (runtime === "podman" ? undefined : noClients);
  describeUnless(missing, { title, body, requiredBy: "REQUIRE_RUNTIME", testTimeoutMs });
}
