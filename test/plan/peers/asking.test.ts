// When a node's record asks a peer to begin a handshake, and for how long.
import { expect, test } from "bun:test";
import { askDelayMs, nextAsk } from "../../../src/plan/peers/asking.ts";

const s = 1000;
const hour = 3600 * s;
const nowMs = 10_000 * s;
const wallMs = 1_800_000_000_000;
const clocks = { nowMs, wallMs };
const silentFor = (seconds: number) => ({ silentSinceMs: nowMs - seconds * s });

test.each([
  ["no silence", {}, undefined],
  ["silence that recovery may end by itself", silentFor(34), undefined],
  ["silence that lasts", silentFor(35), wallMs + hour],
  ["others may write first", { ...silentFor(35), delayMs: 1 }, undefined],
  [
    "asked, and still silent: not written again",
    { ...silentFor(60), asksUntilMs: wallMs + hour - s },
    wallMs + hour - s,
  ],
  ["half the time is over", { ...silentFor(3000), asksUntilMs: wallMs + hour / 2 - s }, wallMs + hour],
  ["it answers: asked for the rest of the hour", { asksUntilMs: wallMs + s }, wallMs + s],
  ["the hour is over", { asksUntilMs: wallMs }, undefined],
  ["the clock was set back: no more than an hour", { asksUntilMs: wallMs + 24 * hour }, wallMs + hour],
])("%s", (_name, facts: Partial<Parameters<typeof nextAsk>[0]>, expected) => {
  expect(nextAsk({ delayMs: 0, ...facts }, clocks)).toBe(expected as number);
});

test("a peer that dies is asked once a second by a cluster of thousands, whatever the names", () => {
  const delays = Array.from({ length: 5000 }, (_, i) => askDelayMs(`node-${i}`, "node-x", 5000)).sort(
    (a, b) => a - b,
  );
  expect(delays.at(-1)).toBeLessThan(5000 * s);
  for (let from = 0; from < 5000 * s; from += 500 * s)
    expect(delays.filter((ms) => ms >= from && ms < from + 500 * s).length).toBeLessThan(1000);
});
