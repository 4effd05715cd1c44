// All checks, in the order in which one thing depends on another, and what they
// say of a node.
import type { Facts } from "./facts.ts";
import type { Check, Finding } from "./finding.ts";
import { kernelChecks } from "./kernel.ts";
import { nodeChecks } from "./node.ts";
import { peerChecks } from "./peers.ts";
import { storeChecks } from "./store.ts";
import { underlayChecks } from "./underlay.ts";

export const checks: readonly Check[] = [
  ...storeChecks,
  ...nodeChecks,
  ...kernelChecks,
  ...underlayChecks,
  ...peerChecks,
];

export type Examined = Finding & Pick<Check, "name" | "why">;

/** What the checks that apply have found, in their order. */
export function examine(facts: Facts): Examined[] {
  return checks.flatMap(({ name, why, run }) => {
    const finding = run(facts);
    return finding === undefined ? [] : [{ name, why, ...finding }];
  });
}
