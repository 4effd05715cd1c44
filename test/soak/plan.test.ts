// The plan of a soak run: its seed decides all of it, and each kind of deed comes.
import { expect, test } from "bun:test";
import { type Event, planSoak } from "./plan.ts";

const options = { seed: 7, minutes: 2, pods: 120 } as const;
const plan = planSoak(options);
const kindsOf = (events: readonly Event[]) => events.map(({ deed }) => deed.kind);

test("planSoak with the same seed gives the same plan, with another one another plan", () => {
  expect(planSoak(options)).toEqual(plan);
  expect(planSoak({ ...options, seed: 8 })).not.toEqual(plan);
});

test("planSoak is in the order of time and within it", () => {
  const times = plan.map(({ atMs }) => atMs);
  expect(times).toEqual(times.toSorted((one, other) => one - other));
  expect(times.every((ms) => ms >= 0 && ms <= 120_000)).toBe(true);
});

test("planSoak of two minutes has every kind twice at least, and pods at the rate that was asked for", () => {
  const counts = Map.groupBy(kindsOf(plan), (kind) => kind);
  expect([...counts.keys()].sort()).toEqual([
    ...(["damage", "end-pod", "flap-link", "freeze-agent", "hide-records"] as const),
    ...(["kill-agent", "restart-agent", "rotate-keys", "start-pod"] as const),
  ]);
  for (const kinds of counts.values()) expect(kinds.length).toBeGreaterThanOrEqual(2);
  expect(counts.get("start-pod")?.length).toBe(228);
});

test("planSoak ends each pod once, after its start and on its node", () => {
  const starts = plan.filter(({ deed }) => deed.kind === "start-pod");
  for (const start of starts) {
    const { pod, node } = start.deed as { pod: number; node: number };
    const ends = plan.filter(({ deed }) => deed.kind === "end-pod" && deed.pod === pod);
    expect(ends.map(({ deed }) => deed)).toEqual([{ kind: "end-pod", pod, node: node as 0 }]);
    expect(ends[0]?.atMs).toBeGreaterThan(start.atMs);
  }
});

test("planSoak lets the agent of the first node live", () => {
  const ended = plan.flatMap(({ deed }) => (/^(kill|restart)-agent$/.test(deed.kind) ? [deed] : []));
  expect(ended.every((deed) => "node" in deed && deed.node !== 0)).toBe(true);
});
