// Whether this machine can run the tests against a real API server. A skip says
// why; with REQUIRE_KUBE=1 it is a failure.

import { describe, setDefaultTimeout } from "bun:test";
import { findKubeAssets } from "../../../scripts/kube-assets.ts";

const common = ["unshare", "nsenter", "ip", "openssl"];
/** For a test or hook on a busy machine. */
const testTimeoutMs = 120_000;

/** describe(), skipped where there is no API server to be had; `needs` are further programs. */
export function describeKube(title: string, body: () => void, needs: readonly string[] = []): void {
  const missing = whatIsMissing([...common, ...needs]);
  if (missing === undefined) {
    setDefaultTimeout(testTimeoutMs);
    describe(title, body);
    return;
  }
  if (process.env["REQUIRE_KUBE"] === "1") throw new Error(`"${title}" cannot run: ${missing}`);
  console.log(`skipped: ${title}: ${missing}`);
  describe.skip(`${title} (${missing})`, body);
}

function whatIsMissing(needs: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const absent = needs.filter((tool) => !Bun.which(tool));
  if (absent.length > 0) return `${absent.join(", ")} missing`;
  return findKubeAssets() ? undefined : "no kube-apiserver: run scripts/kube-assets";
}
