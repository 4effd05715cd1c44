// Nodes that rotate at the same time, in every order that chance finds: all
// come to an end, and no packet is lost. The nodes are those of rotation-sim.ts.
import { expect, setDefaultTimeout, test } from "bun:test";
import { makeRandom, pick } from "../random.ts";
import { randomTalk, type SimOptions, Simulation } from "./rotation-sim.ts";

/** Three seconds of computation, on a machine that has other things to do. */
setDefaultTimeout(60_000);

const slots = ["a", "b"] as const;

interface Outcome {
  readonly sent: number;
  readonly lost: number;
  readonly rotations: readonly number[];
  readonly undrained: readonly string[];
  /** Longest rotation. */
  readonly longestMs: number;
}

/** Every node begins `rounds` rotations at random times; ends when all are done, or after 15 minutes. */
function rotateTogether(seed: number, options: SimOptions, rounds: number): Outcome {
  const random = makeRandom(seed);
  const sim = new Simulation(pick(random, [2, 3, 5]), random, options);
  const talks = randomTalk(random);
  // Gates open first.
  while (sim.nowMs < 30_000) sim.tick(talks);
  const startsAt = new Map(
    sim.nodes.map((node) => [node, sim.nowMs + random() * pick(random, [0, 5000, 40_000])]),
  );
  let longestMs = 0;
  while (sim.nowMs < 930_000 && sim.nodes.some(({ rotations }) => rotations < rounds)) {
    for (const node of sim.nodes) {
      const startMs = startsAt.get(node) as number;
      if (node.remaining === undefined && node.rotations < rounds && startMs <= sim.nowMs) {
        node.remaining = slots;
        startsAt.set(node, sim.nowMs);
      } else if (node.remaining !== undefined) longestMs = Math.max(longestMs, sim.nowMs - startMs);
    }
    sim.tick(talks);
  }
  // Damage of a rotation would show afterwards.
  for (const endMs = sim.nowMs + 30_000; sim.nowMs < endMs; ) sim.tick(talks);
  return {
    ...{ sent: sim.sent, lost: sim.lost, longestMs },
    rotations: sim.nodes.map(({ rotations }) => rotations),
    undrained: sim.nodes.flatMap(({ undrained }) => undrained),
  };
}

const seeds = Array.from({ length: 60 }, (_, i) => i);

test("three rotations of all nodes lose nothing, leave no node behind and end soon", () => {
  let total = 0;
  for (const seed of seeds) {
    const { sent, lost, rotations, undrained, longestMs } = rotateTogether(
      seed,
      { maxLagMs: 3000, restarts: 0 },
      3,
    );
    const what = `seed ${seed}`;
    expect({ what, lost, undrained, done: rotations.every((count) => count === 3) }).toEqual({
      ...{ what, lost: 0, undrained: [], done: true },
    });
    total += sent;
    // Two drains of at least 10 s, those of the others, and a wait for the ones that came first.
    expect(longestMs, what).toBeLessThan(150_000);
  }
  expect(total).toBeGreaterThan(100_000);
});

test("agents that are killed now and then lose nothing either", () => {
  for (const seed of seeds) {
    const { lost, rotations, undrained } = rotateTogether(seed, { maxLagMs: 3000, restarts: 0.03 }, 2);
    expect({ seed, lost, undrained, done: rotations.every((count) => count === 2) }).toEqual({
      ...{ seed, lost: 0, undrained: [], done: true },
    });
  }
});

test("if records take longer than a drain, packets are lost: the count would show it", () => {
  const lost = seeds.map((seed) => rotateTogether(seed, { maxLagMs: 40_000, restarts: 0 }, 1).lost);
  expect(Math.max(...lost)).toBeGreaterThan(0);
});
