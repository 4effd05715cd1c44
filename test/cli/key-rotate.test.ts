// `key rotate` and what is shown of a rotation: refusals say what is missing,
// and a request ends in the store, where the agent finds it. The kernel is only read.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { renderRotation } from "../../src/cli/rotation.ts";
import { tryLock } from "../../src/linux/lock.ts";
import { slots } from "../../src/plan/peers/path.ts";
import type { Identity, JsonValue } from "../../src/state/model.ts";
import { openPrivateKey, readOrCreateSealKey } from "../../src/state/seal.ts";
import { makeSlotKeys } from "../../src/state/slot-key.ts";
import { Store } from "../../src/state/store.ts";
import { peer } from "../state/samples.ts";
import { expectGolden } from "./golden.ts";
import { run, StateDirectory } from "./terminal.ts";

const hour = 3_600_000;
let directory: StateDirectory;

beforeEach(() => {
  directory = new StateDirectory();
});
afterEach(() => directory[Symbol.dispose]());

const sealKeyFile = () => `${directory.path}/seal.key`;
const say = (...words: string[]) => run([...words, ...directory.flag]);
const open = () => Store.open(`${directory.path}`, "boot");

function makeNode(up: boolean, settings: Record<string, JsonValue> = {}): void {
  using store = open();
  const sealKey = readOrCreateSealKey(sealKeyFile());
  for (const [name, value] of Object.entries({ sealKeyFile: sealKeyFile(), ...settings }))
    store.putSetting(name, value);
  store.putIdentity({
    ...{ name: "n1", endpoints: ["192.0.2.1"], endpointsFound: false, nodeIPsFollow: false },
    ...{ nodeIPs: ["192.0.2.1"], podCIDRs: ["10.1.0.0/24"], up },
    slots: makeSlotKeys(sealKey, "n1", slots, Date.now() - 3 * hour),
  });
}

function readIdentity(): Identity {
  using store = open();
  return store.identity() as Identity;
}

/** Replaces the values that differ from run to run. */
function masked(text: string): string {
  return text
    .replaceAll(directory.path, "STATE")
    .replaceAll(/"startedAtMs": \d+/g, '"startedAtMs": NOW')
    .replaceAll(/"createdAtMs": \d+/g, '"createdAtMs": THEN')
    .replaceAll(/[A-Za-z0-9+/]{43}=/g, (key) => "K".repeat(key.length));
}

describe("key rotate is refused", () => {
  const recordsDir = "/nowhere/records";
  const refusals: readonly [string, make: () => void, says: RegExp][] = [
    ["if the node was never up", () => undefined, /has no keys yet: `wg-cni up` makes them/],
    ["where it is down", () => makeNode(false, { recordsDir }), /is down.* run `wg-cni up` first/],
    ["if no peer would learn the keys", () => makeNode(true), /--records-dir/],
    [
      "where no agent runs",
      () => makeNode(true, { recordsDir }),
      /No agent runs on the store .*`wg-cni agent`/,
    ],
  ];

  test.each(refusals)("%s", async (_, make, says) => {
    make();
    const { exitCode, stdout, stderr } = await say("key", "rotate");
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toMatch(says);
    using store = open();
    expect(store.rotation()).toBeUndefined();
  });

  test("during a rotation, it shows how far the rotation is", async () => {
    makeNode(true, { recordsDir });
    {
      using store = open();
      store.putRotation({ remaining: ["b"], why: "schedule", startedAtMs: Date.now() - 200_000 });
    }
    using _agent = tryLock(`${directory.path}/agent.lock`);
    const { exitCode, stderr } = await say("key", "rotate");
    expect(exitCode).toBe(1);
    expect(stderr).toBe(
      "wg-cni: The keys are being rotated already (on schedule, begun 3 min ago; still to come: slot b). `wg-cni status` shows how far it is.\n",
    );
  });
});

test("key rotate asks the agent, by the store", async () => {
  mkdirSync(`${directory.path}/records`);
  makeNode(true, { recordsDir: `${directory.path}/records` });
  const before = readIdentity();
  using _agent = tryLock(`${directory.path}/agent.lock`);
  const { exitCode, stdout, stderr } = await say("key", "rotate");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expectGolden("key-rotate.output", stdout);
  {
    using store = open();
    expect(store.rotation()).toMatchObject({ remaining: ["a", "b"], why: "command" });
    expect(store.identity()).toEqual(before);
    store.putRotation(undefined);
  }
  expectGolden("key-rotate.json", masked((await say("key", "rotate", "--json")).stdout));
});

describe("key rotate --compromised", () => {
  test("exchanges both keys at once, ends a rotation, and says what is left to do", async () => {
    makeNode(false);
    const before = readIdentity();
    {
      using store = open();
      store.putIdentity({ ...before, slots: before.slots.map((slot) => ({ ...slot, state: "draining" })) });
      store.putRotation({ remaining: slots, why: "command", startedAtMs: 1 });
      store.putPeers([peer("n2"), peer("n3", { podCIDRs: ["10.3.0.0/24"], nodeIPs: ["192.0.2.3"] })]);
    }
    const { exitCode, stdout, stderr } = await say("key", "rotate", "--compromised");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expectGolden("key-rotate-compromised.output", stdout);
    const after = readIdentity();
    const old = new Set(before.slots.map(({ publicKey }) => publicKey));
    for (const { slot, publicKey, state, createdAtMs, sealedPrivateKey } of after.slots) {
      expect(old.has(publicKey)).toBe(false);
      expect(state).toBe("active");
      expect(Date.now() - createdAtMs).toBeLessThan(hour);
      openPrivateKey(readOrCreateSealKey(sealKeyFile()), { node: "n1", slot }, sealedPrivateKey);
    }
    using store = open();
    expect(store.rotation()).toBeUndefined();
  });

  test("is refused if there are no keys", async () => {
    expect(await say("key", "rotate", "--compromised")).toMatchObject({ exitCode: 1, stdout: "" });
  });
});

test("key show has age and state", async () => {
  makeNode(false);
  expectGolden("key-show-aged.output", masked((await say("key", "show")).stdout));
  expectGolden("key-show-aged.json", masked((await say("key", "show", "--json")).stdout));
});

test("status shows the phase of a rotation", async () => {
  makeNode(true, { backend: "userspace", recordsDir: "/nowhere/records" });
  const keys = async () => /^keys +(.*)$/m.exec((await say("status")).stdout)?.[1];
  expect(await keys()).toMatch(/^new ones in (1[89]|2[0-3]) h$/);
  {
    using store = open();
    store.putRotation({ remaining: slots, why: "command", startedAtMs: Date.now() - 60_000 });
  }
  expect(await keys()).toMatch(/^rotating by command, begun \d+ s ago: slot a is next$/);
  const { rotation } = JSON.parse((await say("status", "--json")).stdout);
  expect(rotation).toMatchObject({ phase: "next", slot: "a", remaining: ["a", "b"], why: "command" });
});

test.each([
  [{ phase: "off", reason: "keyRotation is off" }, "not rotated: keyRotation is off"],
  [{ phase: "scheduled", nextAtMs: 90 * hour }, "new ones in 3 d"],
  [{ phase: "scheduled", nextAtMs: hour - 1 }, "due for rotation"],
  [
    { phase: "draining", slot: "b", why: "schedule", startedAtMs: hour - 300_000 },
    "rotating on schedule, begun 5 min ago: slot b drains",
  ],
  [
    { phase: "held", slot: "a", reason: "the node is down", why: "command", startedAtMs: hour - 3000 },
    "rotating by command, begun 3 s ago: slot a waits: the node is down",
  ],
] as const)("the head of status: %j", (status, text) => {
  expect(renderRotation(status, hour)).toBe(text);
});
