// Decides if this machine can run the tests against a real API server. A skip says
// why; with REQUIRE_KUBE=1 it is a failure.

import { findKubeAssets } from "../../../scripts/kube-assets.ts";
import { describeUnless, whatIsMissing } from "../../kernel/support/gate.ts";

const common = ["unshare", "nsenter", "ip", "openssl"];
/** For a test or hook on a busy machine. */
const testTimeoutMs = 120_000;

/** describe(), skipped if there is no API server to be had; `needs` are further programs. */
export function describeKube(title: string, body: () => void, needs: readonly string[] = []): void {
  const noServer = findKubeAssets() ? undefined : "no kube-apiserver: run scripts/kube-assets";
  const missing = whatIsMissing([...common, ...needs]) ?? noServer;
  describeUnless(missing, { title, body, requiredBy: "REQUIRE_KUBE", testTimeoutMs });
}
