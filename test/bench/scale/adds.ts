// ADDs of ours and of ptp in turn, in a node, until standard input ends. Prints their milliseconds as JSON.

import { findPlugin, type PluginConf, pluginEnv, type Verb } from "../../lab/runtime.ts";
import type { AddTimes } from "./figures.ts";

const confs = {
  ours: { type: "wg-cni", ipam: { ranges: [[{ subnet: "10.96.0.0/24" }]] } },
  ptp: { type: "ptp", ipam: { type: "host-local", ranges: [[{ subnet: "10.97.0.0/24" }]] } },
} as const satisfies Record<keyof AddTimes, PluginConf>;

function call(name: keyof AddTimes, verb: Verb, containerID: string): number {
  const conf = { cniVersion: "1.0.0", name, ...confs[name] };
  const startMs = performance.now();
  const done = Bun.spawnSync([findPlugin(conf.type)], {
    env: pluginEnv(verb, { containerID, netns: `/run/netns/${name}` }),
    stdin: Buffer.from(JSON.stringify(conf)),
    stderr: "pipe",
  });
  if (done.exitCode !== 0) throw new Error(`${verb} of ${name}: ${done.stdout}${done.stderr}`);
  return performance.now() - startMs;
}

for (const name in confs) Bun.spawnSync(["ip", "netns", "add", name]);
let isOver = false;
void Bun.stdin.text().then(() => {
  isOver = true;
});
const times: Record<keyof AddTimes, number[]> = { ours: [], ptp: [] };
console.error("begun");
while (!isOver) {
  const containerID = `adds-${times.ours.length}`;
  for (const name of ["ours", "ptp"] as const) {
    times[name].push(call(name, "ADD", containerID));
    call(name, "DEL", containerID);
  }
  await Bun.sleep(0);
}
console.log(JSON.stringify(times));
