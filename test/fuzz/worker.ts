// Searches in a thread of its own, so that main.ts can notice an input that never ends.
import { readCorpus } from "./corpus.ts";
import { minimize } from "./minimize.ts";
import { type Finding, faultOf, Search } from "./search.ts";
import { targets } from "./targets.ts";

declare const self: Worker;

export interface Order {
  readonly target: string;
  readonly seed: number;
  readonly runs: number;
  readonly ms: number;
  /** The number of inputs so far, the length of the present one, and its bytes behind that. */
  readonly present: SharedArrayBuffer;
}

export interface Report {
  readonly executions: number;
  readonly features: number;
  readonly findings: readonly Finding[];
}

export const presentHeaderBytes = 8;
/** Between two looks at the clock. */
const batch = 256;

self.onmessage = ({ data }: MessageEvent<Order>) => {
  self.postMessage(search(data));
};

function search({ target: name, seed, runs, ms, present }: Order): Report {
  const target = targets.find((one) => one.name === name)!;
  const numbers = new Int32Array(present, 0, 2);
  const bytes = new Uint8Array(present, presentHeaderBytes);
  const announce = (input: Uint8Array) => {
    bytes.set(input.subarray(0, bytes.length));
    numbers[1] = input.length;
    Atomics.add(numbers, 0, 1);
  };
  const seeds = readCorpus(target).map((one) => one.input);
  const found = new Search(target, seeds, seed, announce);
  const end = performance.now() + ms;
  while (found.executions < runs && performance.now() < end)
    for (let i = 0; i < batch && found.executions < runs; i++) found.step();
  const findings = [...found.findings.values()].map((finding) => {
    const fails = (smaller: Uint8Array) => {
      announce(smaller);
      return faultOf(target, smaller) === finding.what;
    };
    const input = minimize(finding.input, fails);
    return { ...finding, input };
  });
  return { executions: found.executions, features: found.features, findings };
}
