// Measures CNI plugins from inside a lab node: one process, one way of starting
// them, contenders taking turns within every iteration, first place rotating.
// Prints Measured as JSON; progress goes to standard error, one line a step.
//
//   nsenter … bun test/bench/measure.ts OPTIONS-JSON

import { basename, dirname } from "node:path";
import { findPlugin, type PluginConf, pluginEnv } from "../lab/runtime.ts";
import { measureColdStarts } from "./cold-start.ts";
import {
  addSample,
  type Burst,
  type Contender,
  type Measured,
  type Options,
  type Samples,
  type Verb,
} from "./samples.ts";

interface Subject {
  readonly name: Contender;
  readonly plugin: PluginConf;
  /** Network namespace, one for each subject. */
  readonly pod: string;
  /** Chained ones work on the result that this other subject's ADD left. */
  readonly on?: Subject;
  /** It and its plugin for addresses are taken from this directory, and from nowhere else. */
  readonly binDir?: string;
}

type Call = Exclude<Verb, "cold start">;

const options = JSON.parse(process.argv[2] ?? "{}") as Options;
const cniVersion = "1.0.0";
/** STATUS exists from this version on, which Debian's 1.1.1 plugins do not know. */
const statusVersion = "1.1.0";

const hostLocal = (subnet: string) => ({
  type: "host-local",
  ranges: [[{ subnet }]],
  routes: [{ dst: "0.0.0.0/0" }],
});
const ptp: Subject = {
  name: "ptp",
  plugin: { type: "ptp", ipam: hostLocal("10.201.0.0/16") },
  pod: "ptp",
};
const current: Subject = {
  name: "current ptp",
  plugin: { type: "ptp", ipam: hostLocal("10.204.0.0/16") },
  pod: "current",
  binDir: options.currentPlugins ?? "",
};
const cilium: Subject = {
  name: "cilium-cni",
  plugin: { type: "cilium-cni" },
  pod: "ptp",
  binDir: dirname(options.cilium ?? ""),
};
const bridge: Subject = {
  name: "bridge",
  plugin: { type: "bridge", bridge: "cni0", isGateway: true, ipam: hostLocal("10.202.0.0/16") },
  pod: "bridge",
};
const currentBridge: Subject = {
  ...{ name: "current bridge", pod: "current-bridge", binDir: options.currentPlugins ?? "" },
  plugin: { ...bridge.plugin, bridge: "cni1", ipam: hostLocal("10.205.0.0/16") },
};
const standalone: Subject = { name: "wg-cni", plugin: { type: "wg-cni", ipam: {} }, pod: "wg" };
/** The plugin that the chained ones follow; its own times are not reported. */
const base: Subject = {
  name: "ptp",
  plugin: { type: "ptp", ipam: hostLocal("10.203.0.0/16") },
  pod: "chain",
};
const tuning: Subject = {
  name: "tuning",
  plugin: { type: "tuning", sysctl: { "net.core.somaxconn": "500" } },
  pod: "chain",
  on: base,
};
const currentTuning: Subject = { ...tuning, name: "current tuning", binDir: options.currentPlugins ?? "" };
const emptyProgram: Subject = {
  ...{ name: "empty program", plugin: { type: basename(options.emptyProgram) }, pod: "ptp" },
  binDir: dirname(options.emptyProgram),
};
const chained: Subject = { name: "wg-cni chained", plugin: { type: "wg-cni" }, pod: "chain", on: base };

const ifBuilt = (...subjects: Subject[]) => (options.currentPlugins === undefined ? [] : subjects);
const mains = [
  ...[ptp, ...ifBuilt(current), bridge, ...ifBuilt(currentBridge)],
  ...(options.product ? [standalone] : []),
];
const onTop = [tuning, ...ifBuilt(currentTuning), ...(options.product ? [chained] : [])];
const starters = [
  ...[...mains, tuning, ...ifBuilt(currentTuning), emptyProgram],
  ...(options.cilium === undefined ? [] : [cilium]),
];

const samples: Samples = {};
const results = new Map<Subject, unknown>();
for (const pod of new Set([...mains, base].map((subject) => subject.pod))) addPod(pod);
for (const subject of mains) keepPod(subject);
for (let i = 0; i < options.warmup + options.iterations; i++) {
  if (i % 10 === 0)
    console.error(`ADD, CHECK, VERSION, STATUS, DEL: ${i} of ${options.warmup + options.iterations}`);
  iterate(i, i >= options.warmup);
}
const bursts: Burst[] = [];
for (const count of options.bursts) bursts.push(...(await measureBursts(count)));
console.error("cold starts");
const programs = starters.map((subject) => ({ name: subject.name, path: programOf(subject) }));
const cold = measureColdStarts(programs, options.storage, options.coldStarts);
const measured: Measured = { samples: { ...samples, ...cold }, bursts };
console.log(JSON.stringify(measured));

/** Every subject once: ADD, CHECK, VERSION, STATUS, DEL. */
function iterate(i: number, counts: boolean): void {
  const id = `bench-${i}`;
  const turn = <T>(list: readonly T[]): T[] => list.map((_, k) => list[(i + k) % list.length] as T);
  const measure = (verb: Call, subject: Subject) => {
    const milliseconds = call(verb, subject, id);
    if (counts) addSample(samples, verb, subject.name, milliseconds);
  };
  for (const subject of turn(mains)) measure("ADD", subject);
  call("ADD", base, id);
  for (const subject of turn(onTop)) measure("ADD", subject);
  for (const subject of turn([...mains, ...onTop])) measure("CHECK", subject);
  for (const subject of turn(starters)) measure("VERSION", subject);
  if (options.product) measure("STATUS", standalone);
  for (const subject of turn(onTop)) measure("DEL", subject);
  call("DEL", base, id);
  for (const subject of turn(mains)) measure("DEL", subject);
}

/** A pod that stays: what a plugin makes for its first pod, and removes after its last one, is there on most nodes. */
function keepPod(subject: Subject): void {
  const pod = `${subject.pod}-stays`;
  addPod(pod);
  call("ADD", subject, "stays", pod);
}

/** One call, timed from start to reaped exit. Throws if the plugin fails: a wrong fast answer is no sample. */
function call(verb: Call, subject: Subject, containerID: string, netns = subject.pod): number {
  const pod = { containerID, netns: `/run/netns/${netns}` };
  const stdin = Buffer.from(configuration(verb, subject));
  const command = [programOf(subject)];
  const env = environment(verb, subject, pod);
  const start = Bun.nanoseconds();
  const done = Bun.spawnSync(command, { env, stdin, stdout: "pipe", stderr: "pipe" });
  const milliseconds = (Bun.nanoseconds() - start) / 1e6;
  if (done.exitCode !== 0) throw new Error(`${verb} of ${subject.name}: ${done.stdout}${done.stderr}`);
  if (verb === "ADD") results.set(subject, JSON.parse(done.stdout.toString()));
  return milliseconds;
}

function configuration(verb: Call, subject: Subject): string {
  const previous = results.get(subject.on ?? subject);
  return JSON.stringify({
    cniVersion: verb === "STATUS" ? statusVersion : cniVersion,
    name: `bench-${subject.pod}`,
    ...subject.plugin,
    ...((subject.on !== undefined || verb === "CHECK" || verb === "DEL") &&
      verb !== "STATUS" && { prevResult: previous }),
  });
}

function programOf({ plugin, binDir }: Subject): string {
  return binDir === undefined ? findPlugin(plugin.type) : `${binDir}/${plugin.type}`;
}

function environment(
  verb: Call,
  { binDir }: Subject,
  pod: { containerID: string; netns: string },
): Record<string, string> {
  const options = binDir === undefined ? {} : { binDir };
  return { PATH: process.env["PATH"] ?? "", ...pluginEnv(verb, pod, options) };
}

/** `count` pods at once, all contenders in turn, several rounds. */
async function measureBursts(count: number): Promise<Burst[]> {
  const pods = Array.from({ length: count }, (_, k) => `burst-${k}`);
  for (const pod of pods) addPod(pod);
  const found: Burst[] = [];
  for (let round = 0; round < options.burstRounds; round++) {
    console.error(`${count} at once: round ${round + 1} of ${options.burstRounds}`);
    for (let k = 0; k < mains.length; k++) {
      const subject = mains[(round + k) % mains.length] as Subject;
      found.push(await burst("ADD", subject, pods, round));
      found.push(await burst("DEL", subject, pods, round));
    }
  }
  for (const pod of pods) mustRun(["ip", "netns", "delete", pod]);
  return found;
}

async function burst(verb: "ADD" | "DEL", subject: Subject, pods: string[], round: number): Promise<Burst> {
  const command = [programOf(subject)];
  const stdin = Buffer.from(JSON.stringify({ cniVersion, name: `bench-${subject.pod}`, ...subject.plugin }));
  const start = Bun.nanoseconds();
  const calls = pods.map((pod) => {
    const env = environment(verb, subject, { containerID: `${pod}-r${round}`, netns: `/run/netns/${pod}` });
    return Bun.spawn(command, { env, stdin, stdout: "pipe", stderr: "pipe" });
  });
  const codes = await Promise.all(calls.map((child) => child.exited));
  const wallMs = (Bun.nanoseconds() - start) / 1e6;
  const failed = calls.filter((_, k) => codes[k] !== 0);
  const failures = await Promise.all(failed.map((child) => child.stdout.text()));
  return { contender: subject.name, verb, count: pods.length, wallMs, failures };
}

function addPod(name: string): void {
  mustRun(["ip", "netns", "add", name]);
  mustRun(["ip", "-n", name, "link", "set", "lo", "up"]);
}

function mustRun(command: string[]): void {
  const done = Bun.spawnSync(command, { stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")}: ${done.stderr}`);
}
