// Resources of the agent's process, under the names that all Prometheus clients use.
// The library's own defaults need functions of Node that this runtime does not have.
import { readdirSync } from "node:fs";
import type { Series, Value } from "./series.ts";

export const processSeries: readonly Series<void>[] = [
  {
    name: "process_resident_memory_bytes",
    type: "gauge",
    help: "Resident memory in bytes.",
    labels: [],
    values: () => plain(process.memoryUsage.rss()),
  },
  {
    name: "process_cpu_seconds_total",
    type: "counter",
    help: "User and system CPU time spent in seconds.",
    labels: [],
    values: () => {
      const { user, system } = process.cpuUsage();
      return plain((user + system) / 1e6);
    },
  },
  {
    name: "process_start_time_seconds",
    type: "gauge",
    help: "Unix time at which the process began.",
    labels: [],
    values: () => plain(performance.timeOrigin / 1000),
  },
  {
    name: "process_open_fds",
    type: "gauge",
    help: "Open file descriptors.",
    labels: [],
    // One of them is the listing's own.
    values: () => plain(readdirSync("/proc/self/fd").length - 1),
  },
];

function plain(value: number): Value[] {
  return [{ labels: {}, value }];
}
