// Plays random sequences until one fails, makes that one short, and prints the command that plays it again.
import fc from "fast-check";
import type { Lab } from "../lab/lab.ts";
import { repository } from "../lab/paths.ts";
import { type Action, sequences } from "./actions.ts";
import { Machine } from "./machine.ts";
import { type Played, play } from "./play.ts";

export interface Campaign {
  readonly seed: number;
  readonly runs: number;
  /** No further sequence begins after it. */
  readonly limitMs: number;
}

/** Sequences that a failure is made shorter by, at most. */
const shrinkMs = 120_000;

/** Returns how much was played. Throws what differs, with the sequence. */
export async function campaign(
  lab: Lab,
  { seed, runs, limitMs }: Campaign,
): Promise<Played & { sequences: number }> {
  const program = await bundleDriver(lab);
  const played = { sequences: 0, actions: 0, commands: 0 };
  const failure: { last?: { readonly actions: readonly Action[]; readonly error: unknown } } = {};
  let deadline = performance.now() + limitMs;
  let machine: Machine | undefined;
  const runOne = async (actions: readonly Action[]) => {
    if (performance.now() > deadline) return true;
    machine ??= await Machine.create(lab, program);
    try {
      played.sequences++;
      await play(machine, actions, played);
      return true;
    } catch (error) {
      if (failure.last === undefined) deadline = performance.now() + shrinkMs;
      failure.last = { actions, error };
      // What is left must not make the next sequence fail.
      await machine.end();
      machine = undefined;
      return false;
    }
  };
  await fc.check(fc.asyncProperty(sequences, runOne), { seed, numRuns: runs, endOnFailure: false });
  await machine?.end();
  if (failure.last !== undefined) throw explain(seed, failure.last.actions, failure.last.error);
  return played;
}

/** Plays one sequence, on a machine of its own. */
export async function replay(lab: Lab, actions: readonly Action[]): Promise<void> {
  const machine = await Machine.create(lab, await bundleDriver(lab));
  await play(machine, actions, { actions: 0, commands: 0 });
  await machine.end();
}

function explain(seed: number, actions: readonly Action[], cause: unknown): Error {
  const shown = cause instanceof Error ? cause.message : String(cause);
  return new Error(
    `The node was not as the model says, with seed ${seed}. To play the shortest sequence again:\n` +
      `  MODEL_SEQUENCE='${JSON.stringify(actions)}' ./scripts/test model\n${shown}`,
    { cause },
  );
}

async function bundleDriver(lab: Lab): Promise<string> {
  const built = await Bun.build({
    entrypoints: [`${repository}/test/model/driver.ts`],
    target: "bun",
    outdir: `${lab.sharedDirectory}/driver`,
  });
  return (built.outputs[0] as { path: string }).path;
}
