// The queue of deadlines, with time as an argument.
import { beforeEach, expect, test } from "bun:test";
import { Deadlines } from "../../src/agent/deadlines.ts";

let deadlines: Deadlines;
let ran: string[];
const note = (name: string) => () => ran.push(name);

beforeEach(() => {
  deadlines = new Deadlines();
  ran = [];
});

test("an empty queue has no next deadline and runs nothing", () => {
  deadlines.runDue(1e9);
  expect([deadlines.nextMs, ran]).toEqual([undefined, []]);
});

test("deadlines run once, when they are due, the earliest first", () => {
  deadlines.set("late", 30, note("late"));
  deadlines.set("second", 20, note("second"));
  deadlines.set("first", 10, note("first"));
  expect(deadlines.nextMs).toBe(10);
  deadlines.runDue(9.9);
  expect(ran).toEqual([]);
  deadlines.runDue(20);
  expect([ran, deadlines.nextMs]).toEqual([["first", "second"], 30]);
  deadlines.runDue(20);
  expect(ran).toHaveLength(2);
});

test("setting a name again replaces its deadline, and undefined removes it", () => {
  deadlines.set("a", 10, note("old"));
  deadlines.set("a", 20, note("new"));
  deadlines.runDue(10);
  expect([ran, deadlines.nextMs]).toEqual([[], 20]);
  deadlines.set("a", undefined, note("none"));
  expect(deadlines.nextMs).toBeUndefined();
});

test("bringing a deadline forward never postpones it", () => {
  deadlines.bringForward("a", 20, note("20"));
  deadlines.bringForward("a", 30, note("30"));
  expect(deadlines.nextMs).toBe(20);
  deadlines.bringForward("a", 10, note("10"));
  deadlines.runDue(20);
  expect(ran).toEqual(["10"]);
});

test("a deadline that another one removes or postpones does not run", () => {
  deadlines.set("pass", 10, () => {
    ran.push("pass");
    deadlines.delete("request");
    deadlines.set("poll", 50, note("poll"));
  });
  deadlines.set("request", 11, note("request"));
  deadlines.set("poll", 12, note("poll"));
  deadlines.runDue(20);
  expect([ran, deadlines.nextMs]).toEqual([["pass"], 50]);
});

test("a deadline that is set again while it runs waits for the next turn", () => {
  const repeat = () => {
    ran.push("again");
    deadlines.set("again", 10, repeat);
  };
  deadlines.set("again", 10, repeat);
  deadlines.runDue(10);
  deadlines.runDue(10);
  expect(ran).toEqual(["again", "again"]);
});
