// Decides if this machine can run the tests of the built plugin against a real
// kernel. A skip says why; with REQUIRE_KERNEL=1 it is a failure.

import { describe, setDefaultTimeout } from "bun:test";
import { existsSync } from "node:fs";
import { binary } from "../../lab/paths.ts";

const common = ["unshare", "nsenter", "ip", "ping", "/usr/lib/cni/ptp", "/usr/lib/cni/host-local", binary];

/** For a test or hook on a busy machine; Bun's own five seconds are too short for that. */
const testTimeoutMs = 60_000;

/** describe(), skipped if the kernel tests cannot run; `needs` are further programs. */
export function describeKernel(title: string, body: () => void, needs: readonly string[] = []): void {
  const missing = whatIsMissing([...common, ...needs]);
  describeUnless(missing, { title, body, requiredBy: "REQUIRE_KERNEL", testTimeoutMs });
}

export interface Gated {
  readonly title: string;
  readonly body: () => void;
  /** The variable of the environment that turns the skip into a failure. */
  readonly requiredBy: string;
  readonly testTimeoutMs: number;
}

/** describe(), skipped if something is missing, which it says. */
export function describeUnless(missing: string | undefined, gated: Gated): void {
  const { title, body, requiredBy } = gated;
  if (missing === undefined) {
    setDefaultTimeout(gated.testTimeoutMs);
    describe(title, body);
    return;
  }
  if (process.env[requiredBy] === "1") throw new Error(`"${title}" cannot run: ${missing}`);
  console.log(`skipped: ${title}: ${missing}`);
  describe.skip(`${title} (${missing})`, body);
}

/** Undefined when all are there and the test is root. */
export function whatIsMissing(tools: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const absent = tools.filter((tool) => !existsSync(tool) && !Bun.which(tool));
  return absent.length > 0 ? `${absent.join(", ")} missing` : undefined;
}
