// `sync` and `plan`: the same pipeline, one of them stops before applying.
import type { Context, Output } from "./command.ts";
import { openSession, renderPlan, reportSync } from "./session.ts";
import { countOf } from "./style.ts";

export function sync(context: Context): Output {
  using session = openSession(context);
  const report = session.sync();
  return reportSync(report, `Node ${report.node.name}`);
}

export function plan(context: Context): Output {
  using session = openSession(context);
  const plan = session.plan();
  const lines = renderPlan(plan);
  return {
    json: { node: plan.node.name, steps: lines },
    text: (style) =>
      lines.length === 0
        ? `${style.green("✓")} nothing to do: the kernel is as the store says\n`
        : `${style.dim(`# ${countOf(plan.steps.length, "step")}; \`wg-cni sync\` does them`)}\n${lines.join("\n")}\n`,
  };
}
