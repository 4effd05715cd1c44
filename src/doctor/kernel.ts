// Checks of this node's kernel: that it can encrypt and count, that it is as the
// store says, and that nobody else holds what is ours.
import { countOf } from "../net/human-format.ts";
import { slots } from "../plan/peers/path.ts";
import { formatMark } from "../plan/settings/parsers.ts";
import { renderRoute, renderRule, renderStep } from "../plan/step.ts";
import { implementations } from "../wireguard/start.ts";
import type { KernelFacts } from "./facts.ts";
import { type Check, type Finding, fail, ok, shorten, warn } from "./finding.ts";

export const kernelChecks: readonly Check[] = [
  {
    name: "wireguard",
    why: "the kernel's encrypts several times faster than a process does",
    run: ({ kernel }) => (kernel?.plan.up ? checkBackend(kernel) : undefined),
  },
  {
    name: "nftables",
    why: "it counts what goes in plaintext, drops it in strict mode, and fits TCP to the tunnel",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      if (kernel.hasFirewall) return ok("there: what goes in plaintext is counted");
      const remedy = "load its module: `modprobe nf_tables`, or use a kernel that has it";
      return kernel.plan.settings.mode === "strict"
        ? fail("the kernel has none: what arrives in plaintext is not dropped, nor counted", remedy)
        : warn("the kernel has none: what goes in plaintext is not counted", remedy);
    },
  },
  {
    name: "host",
    why: "what this host cannot have of the mesh is left out of it: traffic that would need it is not encrypted",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { missingCapabilities } = kernel.plan;
      if (missingCapabilities.length === 0) return ok("it can have all of the mesh");
      return warn(
        `it cannot have ${missingCapabilities.length === 1 ? "one thing" : `${missingCapabilities.length} things`} that the mesh uses`,
        "give the host what each line names, or leave it where that is wanted",
        shorten(missingCapabilities),
      );
    },
  },
  {
    name: "mesh",
    why: "what differs from the store is not encrypted as it should be",
    run: ({ kernel, node }) => {
      if (kernel === undefined) return undefined;
      const commands = kernel.plan.steps.flatMap(renderStep);
      if (commands.length === 0) return kernel.plan.up ? ok("the kernel is as the store says") : undefined;
      const remedy = node?.agentRuns
        ? "the agent mends this within a second: where it stays, its log says why"
        : "run `wg-cni sync`";
      return fail(
        `${countOf(kernel.plan.steps.length, "change")} to the kernel ${kernel.plan.steps.length === 1 ? "is" : "are"} pending`,
        remedy,
        shorten(commands),
      );
    },
  },
  {
    name: "slots",
    why: "with one slot less, nothing is left when the other fails, and keys are not exchanged",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { faults, plan } = kernel;
      if (faults.length === 0) return ok("both can be used");
      return fail(
        faults.length === slots.length
          ? "neither can be used: nothing is encrypted"
          : `slot ${[...plan.faults.keys()].join()} cannot be used; the other one carries all traffic`,
        "remove what each line names; the agent then takes the slot back by itself",
        faults,
      );
    },
  },
  {
    name: "conflicts",
    why: "a rule, route or mark that another program uses, too, sends packets the wrong way",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { conflicts } = kernel;
      if (conflicts.length === 0)
        return ok("no other program uses our tables and mark, or a priority between our rules");
      return fail(
        "another program uses what is ours",
        "remove theirs, or `wg-cni down`, and `wg-cni up` with what each line names",
        shorten(conflicts),
      );
    },
  },
  {
    name: "marks",
    why: "pods' packets are encrypted whatever mark they have, but what this node itself sends with ours goes outside the tunnel",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up || !kernel.hasFirewall) return undefined;
      const { markRules, plan } = kernel;
      const mark = formatMark(plan.settings.fwmark);
      if (markRules.length === 0) return ok(`no rule of others sets bits of our mark ${mark}`);
      return warn(
        `${countOf(markRules.length, "rule")} of others ${markRules.length === 1 ? "sets" : "set"} bits of our mark ${mark}`,
        "after `wg-cni down`, choose other bits with `wg-cni up --fwmark`",
        shorten(
          markRules.map(
            ({ table, chain, bits }) => `table ${table}, chain ${chain}: mark 0x${bits.toString(16)}`,
          ),
        ),
      );
    },
  },
  {
    name: "bypass rules",
    why: "what a rule catches that comes before ours is routed past the tunnel",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { bypassRules, plan } = kernel;
      if (bypassRules.length === 0) return ok("no rule before ours leads to other nodes' pods");
      const { rulePriority } = plan.settings;
      return warn(
        `${countOf(bypassRules.length, "rule")} of others before ours ${bypassRules.length === 1 ? "leads" : "lead"} to other nodes' pods`,
        `move them behind priority ${rulePriority + 3}. Those of Amazon's branch interfaces (security groups for pods) have to be where they are: see which pods have one`,
        shorten(bypassRules.map(({ rule, route }) => `rule "${renderRule(rule)}": ${renderRoute(route)}`)),
      );
    },
  },
  {
    name: "reverse path",
    why: "while one node encrypts and another does not yet, a strict filter drops what the other sends",
    run: ({ kernel }) => (kernel?.plan.up ? checkReversePath(kernel) : undefined),
  },
];

function checkBackend({ plan, hasKernelWireGuard, userspaceProgram }: KernelFacts): Finding {
  if (plan.linkKind === "wireguard") {
    if (hasKernelWireGuard) return ok("the kernel's");
    return fail(
      "the kernel has none",
      "load its module (`modprobe wireguard`), or `wg-cni up --backend userspace`",
    );
  }
  const missing = [...plan.desired.links.keys()].filter((dev) => !plan.observed.links.has(dev));
  if (userspaceProgram === undefined && missing.length > 0)
    return fail(
      `neither the kernel has it, nor is one of ${implementations.join(", ")} installed`,
      "load the kernel's module (`modprobe wireguard`), or install one of them",
    );
  const program = userspaceProgram ?? "a process";
  if (plan.settings.backend === "userspace") return ok(`${program}, as set`);
  return hasKernelWireGuard
    ? warn(`${program} encrypts, though the kernel could`, "`wg-cni down`, then `wg-cni up`")
    : warn(
        `${program} encrypts: the kernel has none`,
        "load the kernel's module (`modprobe wireguard`), then `wg-cni down` and `wg-cni up`",
      );
}

const strict = 1;

function checkReversePath({ uplinks, hasFirewall, plan }: KernelFacts): Finding {
  const strictOnes = uplinks.filter(({ mode }) => mode === strict);
  const names = strictOnes.map(({ dev }) => dev).join(", ");
  if (strictOnes.length === 0) return ok("no uplink is strict");
  if (plan.settings.mode === "off") return ok(`${names} is strict; in mode off nothing has to be let in`);
  if (!hasFirewall)
    return warn(
      `${names} is strict (rp_filter 1), and without nftables nothing marks what comes in plaintext`,
      `sysctl net.ipv4.conf.${strictOnes[0]?.dev}.rp_filter=2`,
    );
  const deaf = strictOnes.filter(({ validMark }) => !validMark).map(({ dev }) => dev);
  if (deaf.length === 0) return ok(`${names} is strict, and lets marked packets in`);
  return fail(
    `src_valid_mark of ${deaf.join(", ")} is 0, and it is strict (rp_filter 1)`,
    "`wg-cni sync` sets it; whoever sets it back (a sysctl.d file, another CNI) must not",
  );
}
