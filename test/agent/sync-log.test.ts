// A sync undoes damage and follows decisions at once: only what the agent had programmed before is a repair.
import { expect, test } from "bun:test";
import { refusedCommands, repairOf } from "../../src/agent/sync-log.ts";
import type { NftSetDeclaration } from "../../src/net/nftables.ts";
import type { Route } from "../../src/net/objects.ts";
import { diffMesh } from "../../src/plan/mesh/diff.ts";
import { emptyMesh, type Mesh } from "../../src/plan/mesh/model.ts";
import type { Step } from "../../src/plan/step.ts";
import { continuePlan, type SyncReport } from "../../src/reconcile/mesh-plan.ts";
import { plan } from "../doctor/facts.ts";

const none: ReadonlySet<string> = new Set();
const options = { slotOf: new Map(), nowMs: 0, ownIPs: [] };

const routeTo = (dst: string, type: Route["type"] = "unicast"): Route => ({
  ...{ family: 4, dst, type, table: 18099, protocol: 17, scope: "global" },
  ...(type === "unicast" ? { dev: "wg-cni-a" } : {}),
});
const meshOf = (...dsts: string[]): Mesh => ({ ...emptyMesh, routes: dsts.map((dst) => routeTo(dst)) });

/** A sync to `desired` of a kernel that has `observed`, by an agent that had programmed `before`. */
function syncOf(desired: Mesh, observed: Mesh, before: Mesh): SyncReport {
  const steps = diffMesh(desired, observed, options);
  return reportOf(steps, diffMesh(before, observed, options));
}

function reportOf(steps: readonly Step[], damage: readonly Step[]): SyncReport {
  return {
    ...{ ...plan, steps, damage, writes: steps.length },
    ...{ failures: [], blocking: [], unmet: [], conflicts: [] },
  };
}

const dsts = ({ steps }: { readonly steps: readonly Step[] }) =>
  steps.map((step) => `${step.do} ${"route" in step ? step.route.dst : ""}`);

test("the work of a decision is no repair, whatever the kernel has told meanwhile", () => {
  const report = syncOf(meshOf("10.2.0.0/24", "10.3.0.0/24"), meshOf("10.2.0.0/24"), meshOf("10.2.0.0/24"));
  expect(dsts(report)).toEqual(["replaceRoute 10.3.0.0/24"]);
  expect(repairOf(report, none)).toEqual({ steps: [] });
});

test("damage is told apart from a decision in the same sync", () => {
  const report = syncOf(
    meshOf("10.2.0.0/24", "10.3.0.0/24"),
    meshOf("10.9.0.0/24"),
    meshOf("10.2.0.0/24", "10.4.0.0/24"),
  );
  const repair = repairOf(report, none);
  expect(dsts(repair).sort()).toEqual(["deleteRoute 10.9.0.0/24", "replaceRoute 10.2.0.0/24"]);
  expect(repair.first).toContain("10.2.0.0/24");
});

test("damage is told although the rest of the sync was planned anew", () => {
  const [wanted, damaged] = [meshOf("10.2.0.0/24", "10.3.0.0/24"), meshOf("10.2.0.0/24")];
  const whole = continuePlan(syncOf(wanted, damaged, wanted), syncOf(wanted, wanted, wanted));
  expect(dsts(whole)).toEqual(["replaceRoute 10.3.0.0/24"]);
  expect(repairOf(reportOf(whole.steps, whole.damage), none).first).toContain("10.3.0.0/24");
});

test("what the agent itself no longer wants is a decision", () => {
  const report = syncOf(meshOf(), meshOf("10.2.0.0/24"), meshOf("10.2.0.0/24"));
  expect(dsts(report)).toEqual(["deleteRoute 10.2.0.0/24"]);
  expect(repairOf(report, none)).toEqual({ steps: [] });
});

test("a command that the kernel has refused before repairs nothing when it takes it", () => {
  const before = meshOf("10.2.0.0/24");
  const first = syncOf(before, meshOf(), meshOf());
  const failuresOf = ({ steps }: SyncReport) => steps.map((step) => ({ step, error: new Error("EINVAL") }));
  const refused = refusedCommands({ failures: failuresOf(first) });
  expect(refused.size).toBe(1);
  expect(repairOf(syncOf(before, meshOf(), before), refused)).toEqual({ steps: [] });
  // One that is refused now has repaired nothing either.
  const again = syncOf(before, meshOf(), before);
  expect(repairOf({ ...again, failures: failuresOf(again) }, none)).toEqual({ steps: [] });
});

test("of one transaction of nftables, only the restored elements are a repair", () => {
  const table = { family: "inet", name: "wg-cni" } as const;
  const set: NftSetDeclaration = { name: "hosts4_in", family: 4, interval: false, counter: true };
  const apply = (...elements: string[]): Step => ({
    ...{ do: "applyFirewall", commands: [{ table, do: "addElements", set, elements }] },
    table: { ...table, sets: [], chains: [], foreign: [] },
  });
  const added = apply("192.0.2.3");
  expect(repairOf(reportOf([added], [apply("192.0.2.2")]), none)).toEqual({ steps: [] });
  const both = apply("192.0.2.3", "192.0.2.2");
  const repair = repairOf(reportOf([both], [apply("192.0.2.2")]), none);
  expect(repair.steps).toEqual([both]);
  expect(repair.first).toContain("{ 192.0.2.2 }");
});

test("of one peer, only the restored allowed IPs are a repair", () => {
  const publicKey = Buffer.alloc(32, 7).toString("base64");
  const configure = (...allowedIPs: string[]): Step => ({
    ...{ do: "configureDevice", dev: "wg-cni-a" },
    config: { peers: [{ publicKey, allowedIPs }] },
  });
  const report = reportOf([configure("10.3.0.0/24", "10.2.0.0/24")], [configure("10.2.0.0/24")]);
  expect(repairOf(report, none).first).toContain("allowed-ips +10.2.0.0/24");
  expect(repairOf(reportOf([configure("10.3.0.0/24")], [configure("10.2.0.0/24")]), none).steps).toEqual([]);
});

test("the command of a repaired endpoint says nothing of allowed IPs", () => {
  const publicKey = Buffer.alloc(32, 7).toString("base64");
  const step: Step = {
    ...{ do: "configureDevice", dev: "wg-cni-a" },
    config: { peers: [{ publicKey, endpoint: { ip: "192.0.2.2", port: 51820 } }] },
  };
  expect(repairOf(reportOf([step], [step]), none).first).toBe(
    `wg set wg-cni-a peer ${publicKey} endpoint 192.0.2.2:51820`,
  );
});

test("routes of pods come and go all day, and are no damage", () => {
  const route = { ...routeTo("10.1.0.7/32", "throw"), table: plan.settings.podTable };
  const steps: Step[] = [{ do: "deleteRoute", route }];
  expect(repairOf(reportOf(steps, steps), none)).toEqual({ steps: [] });
});
