// Carries out steps. Repeatable and interruptible: a step whose effect is there
// already counts as done, and only this file knows the errors that mean so.
// Neighbouring rtnetlink steps travel to the kernel together.
import { Errno } from "../linux/errno.ts";
import { findText } from "../linux/file.ts";
import type { Slot } from "../net/record.ts";
import type { Batch } from "../netlink/batch.ts";
import { NetlinkError } from "../netlink/error.ts";
import { replaceRouteMtus } from "../netlink/mtu.ts";
import type { Rtnl } from "../netlink/rtnl.ts";
import type { DeviceStep, RouteMtuStep, RtnlStep, Step, SysctlStep } from "../plan/step.ts";
import type { Kernel } from "./kernel.ts";
import { writeThreading } from "./napi.ts";

/** All that steps may need beyond the kernel; each part is called only when a step needs it. */
export interface ApplyContext {
  /** Text of the private key of a slot. */
  readonly privateKey?: (slot: Slot) => string;
  /** Keeps a sysctl's value from before we changed it, durably. */
  readonly saveSysctl?: (path: string, before: string) => void;
  /** Forgets a kept value that was put back. */
  readonly forgetSysctl?: (path: string) => void;
  /** Starts a userspace WireGuard that makes the device. */
  readonly startUserspace?: (dev: string) => void;
}

export interface Failure {
  readonly step: Step;
  readonly error: Error;
}

/**
 * Applies the steps in order and goes on after a failure, since one bad peer
 * must not keep the other peers from working. Only an outdated plan ends early:
 * later steps may rely on the firewall that it would have made. Returns the failures.
 */
export function applySteps(steps: readonly Step[], kernel: Kernel, context: ApplyContext = {}): Failure[] {
  const failures: Failure[] = [];
  for (const run of runsOf(steps)) {
    failures.push(...applyRun(run, kernel, context));
    if (failures.some(isOutdated)) break;
  }
  return failures;
}

/** True if another program has changed our nftables table after the step was planned. */
export function isOutdated({ step, error }: Failure): boolean {
  return step.do === "applyFirewall" && error instanceof NetlinkError && error.errno === Errno.ESTALE;
}

/** Does the same as applySteps, but throws the first failure after all steps were tried. */
export function applyAll(steps: readonly Step[], kernel: Kernel, context: ApplyContext = {}): void {
  for (const { error } of applySteps(steps, kernel, context)) throw error;
}

type SingleStep = Exclude<Step, RtnlStep | RouteMtuStep>;
type Run =
  | { kind: "rtnl"; steps: RtnlStep[] }
  | { kind: "mtu"; steps: RouteMtuStep[] }
  | { kind: "single"; step: SingleStep };

function applyRun(run: Run, kernel: Kernel, context: ApplyContext): Failure[] {
  if (run.kind === "rtnl") return applyBatch(run.steps, kernel);
  return run.kind === "mtu" ? changeRouteMtus(run.steps, kernel) : applyOne(run.step, kernel, context);
}

/** Splits steps into runs. A batch must end at another namespace, at a link whose index later steps need, and at other kinds. */
function runsOf(steps: readonly Step[]): Run[] {
  const runs: Run[] = [];
  let open: RtnlStep[] | undefined;
  for (const step of steps) {
    if (!isRtnl(step)) {
      addRun(runs, step);
      open = undefined;
      continue;
    }
    if (open === undefined || open[0]?.netns !== step.netns) {
      open = [];
      runs.push({ kind: "rtnl", steps: open });
    }
    open.push(step);
    if (step.do === "addLink") open = undefined;
  }
  return runs;
}

/** Routes of one interface get their MTUs together. */
function addRun(runs: Run[], step: SingleStep | RouteMtuStep): void {
  const last = runs.at(-1);
  if (step.do !== "changeRouteMtu") runs.push({ kind: "single", step });
  else if (last?.kind === "mtu" && last.steps[0]?.route.dev === step.route.dev) last.steps.push(step);
  else runs.push({ kind: "mtu", steps: [step] });
}

function isRtnl(step: Step): step is RtnlStep {
  return step.do in rtnlSteps;
}

function applyBatch(steps: readonly RtnlStep[], kernel: Kernel): Failure[] {
  const rtnl: Rtnl = steps[0]?.netns === "pod" ? kernel.pod : kernel.host;
  const batch = rtnl.batch();
  for (const step of steps) addToBatch(batch, step);
  const failures: Failure[] = [];
  batch.send().forEach((error, i) => {
    const step = steps[i] as RtnlStep;
    if (error !== undefined && !rtnlSteps[step.do].includes(error.code)) failures.push({ step, error });
  });
  return failures;
}

function addToBatch(batch: Batch, step: RtnlStep): Batch {
  switch (step.do) {
    case "addLink":
      return batch.addLink(step.link);
    case "changeLink":
      return batch.changeLink(step.dev, step.change);
    case "deleteLink":
      return batch.deleteLink(step.dev);
    case "addAddress":
      return batch.addAddress(step.address);
    case "deleteAddress":
      return batch.deleteAddress(step.address);
    case "addRoute":
      return batch.addRoute(step.route);
    case "replaceRoute":
      return batch.replaceRoute(step.route);
    case "deleteRoute":
      return batch.deleteRoute(step.route);
    case "addRule":
      return batch.addRule(step.rule);
    case "deleteRule":
      return batch.deleteRule(step.rule);
    case "replaceNeighbour":
      return batch.replaceNeighbour(step.neighbour);
  }
}

/**
 * The rtnetlink steps, each with the errors of the kernel that mean that its effect is there already.
 * A link that must be made must not be there: its name would belong to another program.
 */
const rtnlSteps: Readonly<Record<RtnlStep["do"], readonly string[]>> = {
  addLink: [],
  changeLink: [],
  deleteLink: ["ENODEV"],
  addAddress: ["EEXIST"],
  deleteAddress: ["ENODEV", "EADDRNOTAVAIL"],
  addRoute: [],
  replaceRoute: [],
  deleteRoute: ["ESRCH", "ENODEV", "ENOENT"],
  addRule: ["EEXIST"],
  deleteRule: ["ENOENT"],
  replaceNeighbour: [],
};

function applyOne(step: SingleStep, kernel: Kernel, context: ApplyContext): Failure[] {
  try {
    switch (step.do) {
      case "configureDevice":
        configureDevice(step, kernel, context);
        break;
      case "startUserspace":
        context.startUserspace?.(step.dev);
        break;
      case "writeSysctl":
        writeSysctl(step, kernel, context);
        break;
      case "setThreading":
        writeThreading(step.dev, step.on, kernel);
        break;
      case "applyFirewall":
        kernel.firewall?.change(step.table, step.base, step.commands);
        break;
      case "deleteFirewall":
        kernel.firewall?.delete(step.table);
        break;
      case "wait":
        Bun.sleepSync(step.ms);
        break;
    }
    return [];
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return [{ step, error }];
  }
}

function changeRouteMtus(steps: readonly RouteMtuStep[], kernel: Kernel): Failure[] {
  const rtnl = steps[0]?.netns === "pod" ? kernel.pod : kernel.host;
  try {
    return replaceRouteMtus(
      rtnl,
      steps.map(({ route, mtu }) => ({ route, mtu })),
    ).flatMap((error, i) =>
      // A route that another program has removed needs no MTU.
      error === undefined || error.errno === Errno.ESRCH ? [] : [{ step: steps[i] as Step, error }],
    );
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return [{ step: steps[0] as Step, error }];
  }
}

function configureDevice(
  { dev, privateKeyOf, config }: DeviceStep,
  kernel: Kernel,
  context: ApplyContext,
): void {
  const privateKey = privateKeyOf === undefined ? undefined : context.privateKey?.(privateKeyOf);
  const kind = kernel.host.findLink(dev)?.kind ?? "";
  kernel.wireguard(kind).configure(dev, { ...config, ...(privateKey === undefined ? {} : { privateKey }) });
}

function writeSysctl({ path, value, saved, back }: SysctlStep, kernel: Kernel, context: ApplyContext): void {
  const before = readSysctl(path);
  if (back) {
    if (before === "1") kernel.writeSysctl(path, value);
    context.forgetSysctl?.(path);
    return;
  }
  if (before === undefined || before === value) return;
  if (saved) context.saveSysctl?.(path, before);
  kernel.writeSysctl(path, value);
}

/** A value below /proc/sys in this thread's network namespace, or undefined if the kernel has no such setting. */
export function readSysctl(path: string): string | undefined {
  return findText(`/proc/sys/${path}`)?.trim();
}
