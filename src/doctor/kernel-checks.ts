// Checks of this node's kernel: it can encrypt and count, it matches the store, and no other
// program uses our objects.
import { countOf } from "../net/human-format.ts";
import type { Slot } from "../net/record.ts";
import { sysctlName } from "../plan/host/host-changes.ts";
import { slots } from "../plan/peers/path.ts";
import { formatMark } from "../plan/settings/parsers.ts";
import { slotDevice } from "../plan/settings/settings.ts";
import { renderRoute, renderRule, renderStep } from "../plan/step.ts";
import { dueSteps } from "../reconcile/mesh-plan.ts";
import { areAllFaulty } from "../reconcile/slots.ts";
import { implementations } from "../wireguard/start.ts";
import type { KernelFacts } from "./facts.ts";
import { type Check, type Finding, fail, ok, shorten, warn } from "./finding.ts";

export const kernelChecks: readonly Check[] = [
  {
    name: "wireguard",
    impact: "WireGuard in the kernel encrypts several times faster than a userspace process",
    run: ({ kernel }) => (kernel?.plan.up ? checkBackend(kernel) : undefined),
  },
  {
    name: "nftables",
    impact:
      "nftables counts plaintext packets, drops them in strict mode, and clamps the segment size of TCP to the tunnel",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      if (kernel.hasFirewall) return ok("available: plaintext packets are counted");
      const remedy = "load its module: `modprobe nf_tables`, or use a kernel that has it";
      return kernel.plan.settings.mode === "strict"
        ? fail(
            "the kernel has no nftables: packets that arrive in plaintext are neither dropped nor counted",
            remedy,
          )
        : warn("the kernel has no nftables: plaintext packets are not counted", remedy);
    },
  },
  {
    name: "host",
    impact:
      "wg-cni leaves out the parts of the mesh that this host does not support: traffic that needs them is not encrypted",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { missingCapabilities } = kernel.plan;
      if (missingCapabilities.length === 0) return ok("this host supports all parts of the mesh");
      return warn(
        `this host does not support ${countOf(missingCapabilities.length, "part")} of the mesh`,
        "give the host what each line names, or leave it as it is if that is intended",
        shorten(missingCapabilities),
      );
    },
  },
  {
    name: "mesh",
    impact: "if the kernel differs from the store, traffic may not be encrypted as configured",
    run: ({ kernel, node }) => {
      if (kernel === undefined) return undefined;
      const steps = dueSteps(kernel.plan);
      const commands = steps.flatMap(renderStep);
      if (commands.length === 0) return kernel.plan.up ? ok("the kernel matches the store") : undefined;
      const remedy =
        node !== undefined && node.agent.state !== "absent"
          ? "the agent repairs this within five seconds; if it stays, the agent's log says why"
          : "run `wg-cni sync`";
      return fail(
        `${countOf(steps.length, "change")} to the kernel ${steps.length === 1 ? "is" : "are"} pending`,
        remedy,
        shorten(commands),
      );
    },
  },
  {
    name: "slots",
    impact: "if one slot cannot be used, no spare is left when the other one fails, and keys are not rotated",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { faults, plan } = kernel;
      if (faults.length === 0) return ok("both slots can be used");
      const isOccupied = [...plan.faults.values()].every(({ kind }) => kind === "conflict");
      return (isOccupied && !areAllFaulty(plan.faults) ? warn : fail)(
        areAllFaulty(plan.faults)
          ? "neither slot can be used: nothing is encrypted"
          : `slot ${[...plan.faults.keys()].join()} cannot be used; the other one carries all traffic`,
        "remove the cause that each line names; the agent then uses the slot again by itself",
        faults,
      );
    },
  },
  {
    name: "conflicts",
    impact:
      "if another program uses the same rule priority, routing table or mark, packets take the wrong route",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { conflicts } = kernel;
      if (conflicts.length === 0)
        return ok("no other program uses our routing tables or mark, or a priority between our rules");
      return fail(
        "another program uses a rule priority, routing table or mark of wg-cni's",
        "remove the other program's objects; or run `wg-cni down`, then `wg-cni up` with the setting that each line names",
        shorten(conflicts),
      );
    },
  },
  {
    name: "marks",
    impact:
      "pods' packets are encrypted whatever mark they have, but packets that this node itself sends with our mark go outside the tunnel",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up || !kernel.hasFirewall) return undefined;
      const { markRules, plan } = kernel;
      const mark = formatMark(plan.settings.fwmark);
      if (markRules.length === 0) return ok(`no rule of another program sets bits of our mark ${mark}`);
      return warn(
        `${countOf(markRules.length, "rule")} of other programs ${markRules.length === 1 ? "sets" : "set"} bits of our mark ${mark}`,
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
    impact: "packets that match a rule before ours are routed past the tunnel",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { bypassRules, plan } = kernel;
      if (bypassRules.length === 0) return ok("no rule before ours leads to other nodes' pods");
      const { rulePriority } = plan.settings;
      return warn(
        `${countOf(bypassRules.length, "rule")} of other programs before ours ${bypassRules.length === 1 ? "leads" : "lead"} to other nodes' pods`,
        `move them behind priority ${rulePriority + 3}. The rules of Amazon's branch interfaces (security groups for pods) have to stay: check which pods have one`,
        shorten(bypassRules.map(({ rule, route }) => `rule "${renderRule(rule)}": ${renderRoute(route)}`)),
      );
    },
  },
  {
    name: "forwarding",
    impact: "pods reach nothing outside their node, and no other node reaches them",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const off = kernel.forwardingOff.map(sysctlName);
      if (off.length === 0) return ok("this host forwards packets of its pods");
      return fail(
        `this host forwards no packets of its pods: ${off.map((name) => `${name} is 0`).join(", ")}`,
        `\`sysctl -w ${off.map((name) => `${name}=1`).join(" ")}\`, and find what switches it off, such as a file in /etc/sysctl.d`,
      );
    },
  },
  {
    name: "reverse path",
    impact:
      "while one node encrypts and another does not yet, a strict reverse-path filter drops packets from the other",
    run: ({ kernel }) => (kernel?.plan.up ? checkReversePath(kernel) : undefined),
  },
];

function checkBackend({ plan, hasKernelWireGuard, userspaceProgram }: KernelFacts): Finding {
  if (plan.linkKind === "wireguard") {
    if (hasKernelWireGuard) return ok("the kernel's WireGuard");
    return fail(
      "the kernel has no WireGuard",
      "load its module (`modprobe wireguard`), or `wg-cni up --backend userspace`",
    );
  }
  const devices = slots.map((slot) => slotDevice(plan.settings, slot));
  // A slot that another program occupies has its own finding.
  const missing = devices.filter(
    (dev, i) => !plan.observed.links.has(dev) && plan.faults.get(slots[i] as Slot)?.kind !== "conflict",
  );
  const lack = hasKernelWireGuard ? "the backend is userspace" : "the kernel has no WireGuard";
  if (missing.length > 0 && userspaceProgram === undefined)
    return fail(
      `${lack}, and none of ${implementations.join(", ")} is installed`,
      "load the kernel's module (`modprobe wireguard`), or install one of them",
    );
  if (missing.length > 0)
    return fail(
      `${lack}, and ${userspaceProgram} does not run for ${missing.join(", ")}`,
      "run `wg-cni sync` on the node; if the agent runs in a container, it cannot start the program: the unit wg-cni-userspace.service does it, and its log says why it does not",
    );
  const program = userspaceProgram ?? "a process";
  if (plan.settings.backend === "userspace") return ok(`${program}, as configured`);
  return hasKernelWireGuard
    ? warn(`${program} encrypts, although the kernel has WireGuard`, "run `wg-cni down`, then `wg-cni up`")
    : warn(
        `${program} encrypts, because the kernel has no WireGuard`,
        "load the kernel's module (`modprobe wireguard`), then `wg-cni down` and `wg-cni up`",
      );
}

const strict = 1;

function checkReversePath({ uplinks, hasFirewall, plan }: KernelFacts): Finding {
  const strictUplinks = uplinks.filter(({ mode }) => mode === strict);
  const names = strictUplinks.map(({ dev }) => dev).join(", ");
  if (strictUplinks.length === 0) return ok("the filter of no uplink is strict");
  if (plan.settings.mode === "off")
    return ok(`the filter of ${names} is strict; in mode off it drops no packet of a peer`);
  if (!hasFirewall)
    return warn(
      `the filter of ${names} is strict (rp_filter 1), and without nftables no rule marks packets that arrive in plaintext`,
      `run \`sysctl net.ipv4.conf.${strictUplinks[0]?.dev}.rp_filter=2\``,
    );
  const withoutMark = strictUplinks.filter(({ validMark }) => !validMark).map(({ dev }) => dev);
  if (withoutMark.length === 0) return ok(`the filter of ${names} is strict and accepts marked packets`);
  return fail(
    `the filter of ${withoutMark.join(", ")} is strict (rp_filter 1) and src_valid_mark is 0: it drops packets of peers`,
    "run `wg-cni sync`, which sets src_valid_mark, and keep other programs (a sysctl.d file, another CNI plugin) from setting it back",
  );
}
