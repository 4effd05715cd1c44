// Reads memory and processor time of a process from the kernel, not from the process itself.

import { readdirSync, readFileSync } from "node:fs";
import type { Memory } from "./figures.ts";

/** `pid`: as the test process sees it. */
export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return {
    resident: kilobytes(status, "VmRSS"),
    proportional: kilobytes(rollup, "Pss"),
    peak: kilobytes(status, "VmHWM"),
  };
}

/** On a processor so far, by all its threads, those that have ended left out. */
export function cpuMsOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = threads.map((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8");
    return Number(text.split(" ")[0]);
  });
  return nanoseconds.reduce((sum, one) => sum + one, 0) / 1e6;
}

function kilobytes(text: string, key: string): number {
  const value = new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`the kernel says no ${key}`);
  return Number(value) * 1024;
}
