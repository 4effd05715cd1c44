// The search for an input that a target does not survive. It depends on the seed alone: the same seed makes the same
// inputs in the same order. An input whose outcome shows something new is kept, and mutated further.
import { random } from "../wire/random.ts";
import { type Below, mutate } from "./mutate.ts";
import { Features, sentenceOf } from "./shape.ts";
import { execute, type Outcome, type Target } from "./target.ts";

export interface Finding {
  /** Two findings with the same words are one fault. */
  readonly what: string;
  readonly input: Uint8Array;
  /** The number of the execution that found it. */
  readonly execution: number;
}

/** Inputs that are kept for mutation. */
const maxKept = 4000;
/** The largest input takes a millisecond or two; the bound is for a busy machine. */
const slowMs = 250;

export class Search {
  readonly findings = new Map<string, Finding>();
  readonly #below: Below;
  readonly #kept: Uint8Array[] = [];
  readonly #features = new Features();
  #executions = 0;

  /** `announce` learns each input before it is run, in case that it never ends. */
  constructor(
    private readonly target: Target,
    private readonly seeds: readonly Uint8Array[],
    seed: number,
    private readonly announce: (input: Uint8Array) => void = () => {},
  ) {
    this.#below = random(seed);
  }

  get executions(): number {
    return this.#executions;
  }

  /** The number of different things that outcomes have shown. */
  get features(): number {
    return this.#features.count;
  }

  /** Runs the next input. */
  step(): void {
    const input = this.#next();
    this.announce(input);
    this.#executions++;
    const { outcome, ms } = timed(this.target, input);
    const what = findFault(this.target, input, outcome, ms);
    if (what !== undefined && !this.findings.has(what))
      this.findings.set(what, { what, input, execution: this.#executions });
    if (!this.#isNew(outcome, what)) return;
    if (this.#kept.length < maxKept) this.#kept.push(input);
    else this.#kept[this.#below(maxKept)] = input;
  }

  #isNew(outcome: Outcome, what: string | undefined): boolean {
    if (what !== undefined) return this.#features.addSentence(what);
    if (outcome.kind === "value") return this.#features.addValue(outcome.value);
    return this.#features.addSentence(sentenceOf(outcome.error as Error));
  }

  #next(): Uint8Array {
    const seed = this.seeds[this.#executions];
    if (seed !== undefined) return seed;
    return mutate(this.target.form, this.#choose(), this.#choose(), this.#below);
  }

  /** Of two inputs the smaller is taken: it is faster, and a mutation more often hits what matters. */
  #choose(): Uint8Array {
    const [one, other] = [this.#chooseOne(), this.#chooseOne()];
    return one.length <= other.length ? one : other;
  }

  /** The newest inputs are often those from which the next new ones come. */
  #chooseOne(): Uint8Array {
    const { length } = this.#kept;
    const newest = Math.min(length, 32);
    const index = this.#below(3) === 0 ? length - 1 - this.#below(newest) : this.#below(length);
    return this.#kept[index] ?? new Uint8Array(0);
  }
}

function timed(target: Target, input: Uint8Array): { outcome: Outcome; ms: number } {
  const before = performance.now();
  // A reader that changes its input must not change what is reported.
  const outcome = execute(target, input.slice());
  return { outcome, ms: performance.now() - before };
}

function findFault(target: Target, input: Uint8Array, outcome: Outcome, ms: number): string | undefined {
  if (outcome.kind === "fault") return describeFault(outcome.error);
  if (ms < slowMs) return undefined;
  // Something else may have kept the processor, so that only its own time counts.
  const before = process.cpuUsage();
  execute(target, input.slice());
  const { user, system } = process.cpuUsage(before);
  return user + system < slowMs * 1000 ? undefined : `takes more than ${slowMs} ms`;
}

/** Says what an input does to a target; undefined if that is nothing unexpected. */
export function faultOf(target: Target, input: Uint8Array): string | undefined {
  const { outcome, ms } = timed(target, input);
  return findFault(target, input, outcome, ms);
}

function describeFault(error: unknown): string {
  if (!(error instanceof Error)) return `throws ${typeof error}`;
  const place = /\/(src\/[^:)]+:\d+)/.exec(error.stack ?? "")?.[1] ?? "";
  return `${sentenceOf(error)} ${place}`;
}
