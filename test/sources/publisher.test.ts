// When this node's record is written: by what a place has, by failures, and by another writer.
import { expect, test } from "bun:test";
import { Backoff } from "../../src/net/backoff.ts";
import { Publisher } from "../../src/sources/publisher.ts";
import { silent } from "./places.ts";

/** A place with one record, whose writes may take a while or fail. */
function makePublisher(has: string | undefined) {
  const place = { has, writes: 0, nowMs: 0, answers: 0, fails: false, isSlow: false };
  let answer = () => {};
  const write = (text: string) => {
    place.writes++;
    if (place.fails) throw new Error("no");
    place.has = text;
  };
  const publisher = new Publisher<string>({
    ...{ log: silent, now: () => place.nowMs, explain: String, explainRace: () => "a race" },
    backoff: new Backoff({ firstMs: 1000, longestMs: 4000 }, () => 1),
    compare: (text) => (place.has === undefined ? "absent" : place.has === text ? "same" : "other"),
    write: (text) => {
      if (!place.isSlow) return write(text);
      return new Promise<void>((resolve) => {
        answer = resolve;
      }).then(() => write(text));
    },
    onAnswer: () => {
      place.answers++;
    },
  });
  return { place, publisher, answer: () => answer() };
}

test("a record that is there is not written; one that is absent is, however often", () => {
  const { place, publisher } = makePublisher("a");
  expect([publisher.publish("a"), place.writes]).toEqual([{ done: true }, 0]);
  for (let i = 1; i < 4; i++) {
    place.has = undefined;
    expect([publisher.publish("a"), place.writes]).toEqual([{ done: true }, i]);
  }
});

test("what another writer puts there is replaced at once, and a record that was written here once more at once", () => {
  const { place, publisher } = makePublisher("a");
  publisher.publish("a");
  for (const expected of [1, 2]) {
    place.has = "other";
    expect([publisher.publish("a").done, place.writes]).toEqual([true, expected]);
  }
  place.has = "other";
  place.nowMs += 10_000;
  expect(publisher.publish("a")).toEqual({ done: false, problem: "a race", wakeInMs: 20_000 });
  // A change of this node's own record does not wait.
  expect(publisher.publish("b")).toEqual({ done: true });
  place.has = "other";
  place.nowMs += 20_000;
  expect(publisher.publish("b")).toEqual({ done: true });
});

test("a failure is a problem until the record is there; pauses grow, and another record does not wait", () => {
  const { place, publisher } = makePublisher(undefined);
  place.fails = true;
  expect(publisher.publish("a")).toEqual({ done: false, problem: "Error: no", wakeInMs: 1000 });
  publisher.publish("a");
  expect(place.writes).toBe(1);
  place.nowMs += 1000;
  expect(publisher.publish("a").wakeInMs).toBe(2000);
  expect(publisher.publish("b").wakeInMs).toBe(1000);
  place.has = "b";
  expect(publisher.publish("b")).toEqual({ done: true });
});

test("one write is made at a time, and its end is an answer, unless the publisher was ended", async () => {
  const { place, publisher, answer } = makePublisher(undefined);
  place.isSlow = true;
  expect(publisher.publish("a")).toEqual({ done: false });
  publisher.publish("b");
  answer();
  await Bun.sleep(0);
  expect([place.writes, place.answers, publisher.publish("a")]).toEqual([1, 1, { done: true }]);
  publisher.publish("b");
  publisher[Symbol.dispose]();
  answer();
  await Bun.sleep(0);
  expect([place.writes, place.answers]).toEqual([2, 1]);
});
