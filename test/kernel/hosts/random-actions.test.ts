// A sample of the random sequences of test/model, the same ones each time.
import { expect, test } from "bun:test";
import { withLab } from "../../lab/with-lab.ts";
import { campaign } from "../../model/campaign.ts";
import { describeKernel } from "../support/gate.ts";

const sample = { seed: 4711, runs: 8, limitMs: 20_000 };

describeKernel("a sample of random actions", () => {
  const lab = withLab("random-actions");

  test(`a node is as the model says (seed ${sample.seed})`, async () => {
    const { sequences, commands } = await campaign(lab, sample);
    console.log(`${sequences} sequences, ${commands} commands`);
    expect(commands).toBeGreaterThan(0);
  }, 240_000);
}, ["wireguard-go", "wg", "nft"]);
