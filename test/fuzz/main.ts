// The command of `npm run fuzz`: README.md beside it has its options. Each target gets the same share of the time.
// It prints a line for each target and, for each fault, the input and the command that repeats it.
import { parseArgs } from "node:util";
import { readInput } from "./corpus.ts";
import { maxInputBytes } from "./mutate.ts";
import { type Finding, faultOf } from "./search.ts";
import type { Target } from "./target.ts";
import { targets } from "./targets.ts";
import { type Order, presentHeaderBytes, type Report } from "./worker.ts";

/** An input that takes longer is taken to never end. */
const hangMs = 20_000;
/** All inputs that a search keeps are some 60 MB. */
const maxRssBytes = 1536 * 1024 * 1024;
const lookMs = 250;

const { values: flags } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    runs: { type: "string", default: "0" },
    seed: { type: "string", default: "1" },
    target: { type: "string" },
    input: { type: "string" },
    base64: { type: "string" },
  },
});

process.exit(await main());

async function main(): Promise<number> {
  const chosen = targets.filter(({ name }) => flags.target === undefined || name === flags.target);
  if (chosen.length === 0) {
    console.error(
      `There is no target ${flags.target}; there are ${targets.map(({ name }) => name).join(", ")}.`,
    );
    return 2;
  }
  const given = givenInput();
  return given === undefined ? searchAll(chosen) : repeat(chosen, given);
}

function givenInput(): Uint8Array | undefined {
  if (flags.base64 !== undefined) return Uint8Array.fromBase64(flags.base64);
  return flags.input === undefined ? undefined : readInput(flags.input);
}

function repeat(chosen: readonly Target[], input: Uint8Array): number {
  const faults = chosen.map((target) => {
    const fault = faultOf(target, input);
    console.log(`${target.name}: ${fault ?? "nothing unexpected"}`);
    return fault;
  });
  return faults.every((fault) => fault === undefined) ? 0 : 1;
}

async function searchAll(chosen: readonly Target[]): Promise<number> {
  const runs = Number(flags.runs) || Number.POSITIVE_INFINITY;
  const ms = Number.isFinite(runs)
    ? Number.POSITIVE_INFINITY
    : (Number(flags.minutes) * 60_000) / chosen.length;
  let executions = 0;
  let faults = 0;
  for (const target of chosen) {
    const began = performance.now();
    const report = await search({ target: target.name, seed: Number(flags.seed), runs, ms });
    const seconds = (performance.now() - began) / 1000;
    executions += report.executions;
    faults += report.findings.length;
    const pace = Math.round(report.executions / seconds);
    console.log(
      `${target.name}: ${report.executions} executions, ${pace}/s, ${report.features} features, ${report.findings.length} faults`,
    );
    for (const finding of report.findings) console.log(explain(target, finding));
  }
  console.log(`${executions} executions, ${faults} faults, seed ${flags.seed}`);
  return faults === 0 ? 0 : 1;
}

function explain({ name }: Target, { what, input, execution }: Finding): string {
  return [
    `  ${what}`,
    `    found by: npm run fuzz -- --target ${name} --seed ${flags.seed} --runs ${execution}`,
    `    repeat:   npm run fuzz -- --target ${name} --base64 '${input.toBase64()}'`,
  ].join("\n");
}

/** Searches in a thread, and ends it if an input takes too long or too much memory: then that input is the finding. */
async function search(order: Omit<Order, "present">): Promise<Report> {
  const present = new SharedArrayBuffer(presentHeaderBytes + maxInputBytes);
  const worker = new Worker(new URL("./worker.ts", import.meta.url));
  const { promise, resolve, reject } = Promise.withResolvers<Report>();
  worker.onmessage = ({ data }: MessageEvent<Report>) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(message));
  worker.postMessage({ ...order, present } satisfies Order);
  const watch = setInterval(watcher(present, resolve), lookMs);
  try {
    return await promise;
  } finally {
    clearInterval(watch);
    worker.terminate();
  }
}

function watcher(present: SharedArrayBuffer, resolve: (report: Report) => void): () => void {
  const numbers = new Int32Array(present, 0, 2);
  let seen = -1;
  let since = performance.now();
  return () => {
    const [count = 0, length = 0] = numbers;
    if (count !== seen) since = performance.now();
    seen = count;
    const isHanging = count > 0 && performance.now() - since > hangMs;
    if (!isHanging && process.memoryUsage.rss() < maxRssBytes) return;
    const what = isHanging
      ? `takes more than ${hangMs / 1000} s`
      : `needs more than ${maxRssBytes >> 20} MiB`;
    const input = new Uint8Array(present, presentHeaderBytes).slice(0, length);
    resolve({ executions: count, features: 0, findings: [{ what, input, execution: count }] });
  };
}
