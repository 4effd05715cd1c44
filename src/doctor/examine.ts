// Lists all checks, each after those that it depends on, and applies them to the facts of a node.
import type { Facts } from "./facts.ts";
import type { Check, Finding } from "./finding.ts";
import { kernelChecks } from "./kernel-checks";
import { nodeChecks } from "./node-checks";
import { peerChecks } from "./peer-checks";
import { storeChecks } from "./store-checks";
import { underlayChecks } from "./underlay-checks";

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
