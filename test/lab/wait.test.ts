// waitUntil: what it returns, and what it says when nothing comes.

import { expect, test } from "bun:test";
import { waitUntil } from "./wait.ts";

test("returns what it waited for, also from a promise", async () => {
  let looks = 0;
  expect(await waitUntil(() => ++looks >= 3 && "seen", { what: "three looks", everyMs: 1 })).toBe("seen");
  expect(looks).toBe(3);
  expect(await waitUntil(async () => 1, { what: "a promise" })).toBe(1);
});

test("says what did not come, with what is known by then", async () => {
  const options = { timeoutMs: 20, everyMs: 5 };
  const never = () => false;
  await expect(waitUntil(never, { what: "rain", ...options })).rejects.toThrow("Not within 20 ms: rain");
  let looks = 0;
  const wait = waitUntil(() => ++looks < 0, { what: () => `rain, in ${looks > 0} looks`, ...options });
  await expect(wait).rejects.toThrow("rain, in true looks");
});

test("an error while looking ends it at once", async () => {
  const look = () => {
    throw new Error("blind");
  };
  await expect(waitUntil(look, { what: "anything" })).rejects.toThrow("blind");
});
