// Random sequences of calls, commands, boots and processes at the same time, against a simple model. Runs only if it is
// named. A failure prints a sequence that is as short as it could be made, and the command that plays it again.
//
//   MODEL_RUNS=2000 MODEL_SEED=7 ./scripts/test model
import { expect, test } from "bun:test";
import { describeKernel } from "../kernel/support/gate.ts";
import { withLab } from "../lab/with-lab.ts";
import type { Action } from "./actions.ts";
import { campaign, replay } from "./campaign.ts";

const runs = Number(process.env["MODEL_RUNS"] ?? 500);
const seed = Number(process.env["MODEL_SEED"] ?? 4711);
const sequence = process.env["MODEL_SEQUENCE"];
const limitMs = Number(process.env["MODEL_SECONDS"] ?? 1500) * 1000;
const marginMs = 240_000;

describeKernel("a node after random actions", () => {
  const lab = withLab("model");

  const playAll = async () => {
    const started = performance.now();
    const played = await campaign(lab, { seed, runs, limitMs });
    const seconds = (performance.now() - started) / 1000;
    console.log(
      `seed ${seed}: ${played.sequences} sequences, ${played.actions} actions, ${played.commands} commands in ${seconds.toFixed(0)} s, ${(played.commands / seconds).toFixed(1)} commands a second`,
    );
    expect(played.commands).toBeGreaterThan(0);
  };
  const playOne = () => replay(lab, JSON.parse(sequence as string) as Action[]);
  test(
    sequence === undefined
      ? `is as the model says (seed ${seed})`
      : "is as the model says after the given ones",
    sequence === undefined ? playAll : playOne,
    limitMs + marginMs,
  );
}, ["wireguard-go", "wg", "nft"]);
