// Measures CNI plugins from inside a lab node: one process, one way of starting
// them, contenders taking turns within every iteration, first place rotating.
// Prints Measured as JSON; progress goes to standard error, one line a step.
//
//   nsenter … bun test/bench/measure.ts OPTIONS-JSON

import { findPlugin, type PluginConf, pluginEnv } from "../lab/runtime.ts";
import type { Burst, Contender, Measured, Options, Samples, Verb } from "./samples.ts";

interface Subject {
  readonly name: Contender;
  readonly plugin: PluginConf;
  /** Network namespace, one for each subject. */
  readonly pod: string;
  /** Chained ones work on the result that this other subject's ADD left. */
  readonly on?: Subject;
}

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
const bridge: Subject = {
  name: "bridge",
  plugin: { type: "bridge", bridge: "cni0", isGateway: true, ipam: hostLocal("10.202.0.0/16") },
  pod: "bridge",
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
const chained: Subject = { name: "wg-cni chained", plugin: { type: "wg-cni" }, pod: "chain", on: base };

const mains = options.product ? [ptp, bridge, standalone] : [ptp, bridge];
const onTop = options.product ? [tuning, chained] : [tuning];

const samples: Samples = {};
const results = new Map<Subject, unknown>();

for (const pod of ["ptp", "bridge", "wg", "chain"]) addPod(pod);
for (let i = 0; i < options.warmup + options.iterations; i++) {
  if (i % 10 === 0)
    console.error(`ADD, CHECK, VERSION, STATUS, DEL: ${i} of ${options.warmup + options.iterations}`);
  iterate(i, i >= options.warmup);
}
const bursts: Burst[] = [];
for (const count of options.bursts) bursts.push(...(await measureBursts(count)));
const measured: Measured = { samples, bursts };
console.log(JSON.stringify(measured));

/** Every subject once: ADD, CHECK, VERSION, STATUS, DEL. */
function iterate(i: number, counts: boolean): void {
  const id = `bench-${i}`;
  const turn = <T>(list: readonly T[]): T[] => list.map((_, k) => list[(i + k) % list.length] as T);
  const measure = (verb: Verb, subject: Subject) => {
    const milliseconds = call(verb, subject, id);
    if (!counts) return;
    const key = `${verb} ${subject.name}`;
    samples[key] ??= [];
    samples[key].push(milliseconds);
  };
  for (const subject of turn(mains)) measure("ADD", subject);
  call("ADD", base, id);
  for (const subject of turn(onTop)) measure("ADD", subject);
  for (const subject of turn([...mains, ...onTop])) measure("CHECK", subject);
  for (const subject of turn([...mains, tuning])) measure("VERSION", subject);
  if (options.product) measure("STATUS", standalone);
  for (const subject of turn(onTop)) measure("DEL", subject);
  call("DEL", base, id);
  for (const subject of turn(mains)) measure("DEL", subject);
}

/** One call, timed from start to reaped exit. Throws if the plugin fails: a wrong fast answer is no sample. */
function call(verb: Verb, subject: Subject, containerID: string): number {
  const pod = { containerID, netns: `/run/netns/${subject.pod}` };
  const stdin = Buffer.from(configuration(verb, subject));
  const command = [findPlugin(subject.plugin.type)];
  const env = environment(verb, pod);
  const start = Bun.nanoseconds();
  const done = Bun.spawnSync(command, { env, stdin, stdout: "pipe", stderr: "pipe" });
  const milliseconds = (Bun.nanoseconds() - start) / 1e6;
  if (done.exitCode !== 0) throw new Error(`${verb} of ${subject.name}: ${done.stdout}${done.stderr}`);
  if (verb === "ADD") results.set(subject, JSON.parse(done.stdout.toString()));
  return milliseconds;
}

function configuration(verb: Verb, subject: Subject): string {
  const previous = results.get(subject.on ?? subject);
  return JSON.stringify({
    cniVersion: verb === "STATUS" ? statusVersion : cniVersion,
    name: `bench-${subject.pod}`,
    ...subject.plugin,
    ...((subject.on !== undefined || verb === "CHECK" || verb === "DEL") &&
      verb !== "STATUS" && { prevResult: previous }),
  });
}

function environment(verb: Verb, pod: { containerID: string; netns: string }): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", ...pluginEnv(verb, pod) };
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
  const command = [findPlugin(subject.plugin.type)];
  const stdin = Buffer.from(JSON.stringify({ cniVersion, name: `bench-${subject.pod}`, ...subject.plugin }));
  const start = Bun.nanoseconds();
  const calls = pods.map((pod) => {
    const env = environment(verb, { containerID: `${pod}-r${round}`, netns: `/run/netns/${pod}` });
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
