// `sync` and `plan` run the same pipeline; `plan` stops before it applies the steps.
import { countOf } from "../net/human-format.ts";
import { nextEndpoints } from "../plan/host/endpoints.ts";
import { followTransport, observeTransport } from "../reconcile/endpoints.ts";
import type { MeshPlan } from "../reconcile/mesh-plan.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import type { Session } from "../reconcile/session.ts";
import { PodAddresses } from "../sources/pod-addresses.ts";
import type { Context, Output } from "./command.ts";
import { openSession, renderPlan, reportSync, syncAll } from "./session.ts";

export function sync(context: Context): Output {
  using session = openSession(context);
  const warnings: string[] = [];
  // Without an agent no other process notices that a lease brought another address.
  if (followTransport(session, (problem) => warnings.push(problem)))
    warnings.push(
      `the node's endpoints have changed, to ${session.store.identity()?.endpoints.join(", ")}: give its record (\`wg-cni node show --json\`) to the other nodes`,
    );
  if (new PodAddresses(session).update(readSettings(session.store)))
    warnings.push(
      "the pods of this node differ from those in its record: give the record (`wg-cni node show --json`) to the other nodes, unless an agent publishes it",
    );
  const report = syncAll(session);
  const { name } = report.node;
  if (report.up) return reportSync(report, `Node ${name}`, warnings);
  const output = reportSync(report, `Node ${name} is down: nothing is encrypted`, [...warnings, isDownText]);
  // As with `status`: a script that encrypts by this must not believe that it has.
  return { ...output, exitCode: output.exitCode || notAsItShouldBe };
}

const notAsItShouldBe = 3;
const isDownText = "the node has left the mesh: `wg-cni up`, or its agent, brings it back";

export function plan(context: Context): Output {
  using session = openSession(context);
  const plan = session.plan();
  const lines = renderPlan(plan);
  const endpoints = findNextEndpoints(session, plan);
  return {
    json: { node: plan.node.name, steps: lines, ...(endpoints === undefined ? {} : { endpoints }) },
    text: (style) => {
      const notes = [
        ...(endpoints === undefined ? [] : [`sync makes ${endpoints.join(", ")} the node's endpoints first`]),
        ...(lines.length === 0 ? [] : [`${countOf(plan.steps.length, "step")}; \`wg-cni sync\` does them`]),
      ];
      if (notes.length === 0) return `${style.green("✓")} nothing to do: the kernel is as the store says\n`;
      return [...notes.map((note) => style.dim(`# ${note}`)), ...lines].join("\n").concat("\n");
    },
  };
}

function findNextEndpoints(
  { store, kernel }: Session,
  { settings }: MeshPlan,
): readonly string[] | undefined {
  const identity = store.identity();
  return identity?.endpointsFound ? nextEndpoints(identity, observeTransport(settings, kernel)) : undefined;
}
