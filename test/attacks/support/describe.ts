// The test of both files of this directory: how many rounds are drawn, and what is printed of them.
//
//   ATTACK_RUNS=200 ATTACK_SEED=7 ./scripts/test attacks     other rounds
//   ATTACK_CASE='{…}' ./scripts/test attacks/every           one attack again, as a failure has printed it
import { afterAll, beforeAll, expect, test } from "bun:test";
import { describeKernel } from "../../kernel/support/gate.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeRandom } from "../../plan/random.ts";
import { playRound, playUndefended } from "./campaign.ts";
import { drawHonest, drawRounds, type Round } from "./draw.ts";
import { knownRounds } from "./known.ts";
import { Site } from "./site.ts";

const seed = Number(process.env["ATTACK_SEED"] ?? 1);
const wanted = process.env["ATTACK_CASE"];
/** Of one round on a busy machine, and of one with a deed: a rotation takes half a minute. */
const roundMs = 15_000;
const deedMs = 150_000;
const setupMs = 120_000;
/** A fault of a rule is a fault of hundreds of attacks. */
const shownBreaches = 20;

/** One round, as a failure prints it. */
type Case = Omit<Round, "honest">;

/** Plays so many rounds of a hundred attacks. */
export function describeAttacks(defaultRuns: number): void {
  const runs = Number(process.env["ATTACK_RUNS"] ?? defaultRuns);
  const honest = drawHonest(makeRandom(seed));
  const rounds =
    wanted === undefined
      ? [...knownRounds(honest), ...drawRounds(seed, runs)]
      : [{ ...(JSON.parse(wanted) as Case), honest }];
  const body = () => {
    let site: Site;
    afterAll(() => site?.[Symbol.dispose]());
    const lab = withLab("attacks");
    beforeAll(async () => {
      site = await Site.create(lab);
    }, setupMs);

    test(
      "nothing forged arrives, nothing is readable, and what is honest arrives",
      async () => {
        const played = { attacks: 0, honest: 0 };
        const started = performance.now();
        const wrong: string[] = [];
        const random = makeRandom(seed);
        for (const round of rounds) wrong.push(...(await playRound(site, round, played, random)));
        for (const one of wrong.slice(0, shownBreaches)) console.log(one);
        const seconds = (performance.now() - started) / 1000;
        console.log(
          `seed ${seed}: ${rounds.length} rounds, ${played.attacks} attacks, ${played.honest} honest packets in ${seconds.toFixed(0)} s, ${wrong.length} wrong`,
        );
        expect(played.honest).toBeGreaterThan(0);
        expect(wrong).toEqual([]);
      },
      rounds.reduce((sum, { deed }) => sum + (deed === undefined ? roundMs : deedMs), setupMs),
    );

    test.skipIf(wanted !== undefined)(
      "the control: without the tables attacks get through from everywhere",
      async () => {
        const [strict] = knownRounds(honest) as [Round];
        const drawn = drawRounds(seed, 1).flatMap(({ attacks }) => attacks);
        const round = { ...strict, attacks: [...strict.attacks, ...drawn] };
        expect([...(await playUndefended(site, round))].sort()).toEqual([
          "host",
          "lan",
          "pod",
          "tunnel",
          "wire",
        ]);
      },
      setupMs,
    );
  };
  describeKernel(`attacks (seed ${seed})`, body, ["wireguard-go", "nft", "wg"]);
}
