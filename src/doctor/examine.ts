// Lists all checks, each after those that it depends on, and applies them to the facts of a node.
import type { Facts } from "./facts.ts";
import type { Check, Finding } from "./finding.ts";
import { kernelChecks } from "./kernel-checks.ts";
import { nodeChecks } from "./node-checks.ts";
import { peerChecks } from "./peer-checks.ts";
import { storeChecks } from "./store-checks.ts";
import { underlayChecks } from "./underlay-checks.ts";

export const checks: readonly Check[] = [
  ...storeChecks,
  ...nodeChecks,
  ...kernelChecks,
  ...underlayChecks,
  ...peerChecks,
];

export type Examined = Finding & Pick<Check, "name" | "impact">;

/** Returns the findings of the checks that apply, in the order of the checks. */
export function examine(facts: Facts): Examined[] {
  return checks.flatMap(({ name, impact, run }) => {
    const finding = run(facts);
    return finding === undefined ? [] : [{ name, impact, ...finding }];
  });
}
