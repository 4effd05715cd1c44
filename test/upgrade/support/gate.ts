// Decides if this machine can run the tests with the previous wg-cni. A skip says why; with
// REQUIRE_PREVIOUS=1 it is a failure.
import { findPrevious } from "../../../scripts/previous-assets.ts";
import { describeUnless, whatIsMissing } from "../../kernel/support/gate.ts";
import { binary } from "../../lab/paths.ts";

const needs = ["unshare", "nsenter", "ip", "wg", "tcpdump", "wireguard-go", "/usr/lib/cni/ptp", binary];
/** Upgrades of three nodes, one after the other, on a busy machine. */
const testTimeoutMs = 120_000;

/** The previous executable; "" if it was not built, and then the tests do not run. */
export const previous = findPrevious() ?? "";

/** describe(), skipped if the previous executable is missing. */
export function describeUpgrade(title: string, body: () => void): void {
  const notBuilt = previous === "" ? "no previous wg-cni: run scripts/previous-assets" : undefined;
  const missing = whatIsMissing(needs) ?? notBuilt;
  describeUnless(missing, { title, body, requiredBy: "REQUIRE_PREVIOUS", testTimeoutMs });
}
