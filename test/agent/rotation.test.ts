// Key rotation on a real store: what is committed in which order, what is
// logged, and that nothing is lost where it is interrupted.
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Slot } from "../../src/net/record.ts";
import type { PeerObservations } from "../../src/plan/peers/observation.ts";
import { slots } from "../../src/plan/peers/path.ts";
import type { Identity } from "../../src/state/model.ts";
import { makeSlotKeys } from "../../src/state/slot-key.ts";
import { RotatingNode, wallStartMs } from "./rotating.ts";

const root = mkdtempSync(join(tmpdir(), "wgt-rotation-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const newDirectory = () => mkdtempSync(join(root, "node-"));

/** A peer that was heard a moment ago, and sends data on a slot. */
function streaming(names: readonly string[], slot: Slot, nowMs: number) {
  const peers = names.map((name) => ({
    name,
    slots: slots.map((one) => ({
      ...{ slot: one, publicKey: `${name} ${one}`, port: 51820, state: "active" as const },
    })),
    ...{ endpoints: ["192.0.2.2"], nodeIPs: [], podCIDRs: [] },
  }));
  const seen = {
    publicKey: "K",
    ownKey: "O",
    lastHandshakeMs: 1,
    rxBytes: 1,
    txBytes: 1,
    handshakeAtMs: nowMs,
  };
  const observations: PeerObservations = new Map(
    names.map((name) => [name, { a: seen, b: seen, [slot]: { ...seen, dataAtMs: nowMs } }]),
  );
  return { peers, observations, paths: new Map() };
}

test("from the schedule to two new keys: each step once, each with its line", () => {
  using node = new RotatingNode(newDirectory());
  const before = node.publicKeys;
  const view = () => node.reconcile().view;
  expect(node.reconcile()).toEqual({
    ...{ changed: true, wakeInMs: 1000 },
    view: { phase: "draining", slot: "a", waitingFor: [] },
  });
  expect(node.stage).toBe("a draining, b active; a, b to come");
  expect(node.store.rotation()).toMatchObject({ why: "schedule", startedAtMs: wallStartMs + 5000 });
  expect(node.logged()).toEqual([
    "info  keys of this node are due: their rotation begins",
    "info  slot drains before it gets a new key slot=a why=schedule",
  ]);
  const { generation } = node.store;
  node.nowMs += 1000;
  expect(view()).toEqual({ phase: "draining", slot: "a", waitingFor: [] });
  node.nowMs += 9000;
  expect(node.reconcile().changed).toBe(false);
  expect([node.store.generation, node.logged()]).toEqual([generation, []]);
  node.nowMs += 1000;
  expect(node.reconcile()).toMatchObject({ changed: true, view: { phase: "draining", slot: "b" } });
  expect(node.stage).toBe("a active, b draining; b to come");
  expect(node.logged()).toEqual([
    "info  slot has a new key slot=a",
    "info  slot drains before it gets a new key slot=b why=schedule",
  ]);
  expect(node.publicKeys[0]).not.toBe(before[0]);
  expect(node.publicKeys[1]).toBe(before[1] as string);
  node.nowMs += 1000;
  view();
  node.nowMs += 10_000;
  const done = node.reconcile();
  expect(done).toMatchObject({ changed: true, view: { phase: "scheduled" } });
  const made = wallStartMs + 16_000;
  expect(done.view.nextAtMs).toBeWithin(made + 0.89 * 86_400_000, made + 1.11 * 86_400_000);
  expect(node.stage).toBe("a active, b active");
  expect(node.identity.slots.map(({ createdAtMs }) => createdAtMs)).toEqual([made, made + 11_000]);
  expect(node.logged()).toEqual(["info  slot has a new key; the rotation is done slot=b"]);
  node.checkKeys();
  const after = node.store.generation;
  node.nowMs += 3_600_000;
  expect(node.reconcile().changed).toBe(false);
  expect(node.store.generation).toBe(after);
});

test("the drain is counted from its publication, and a restart counts anew", () => {
  using node = new RotatingNode(newDirectory());
  node.reconcile();
  node.nowMs += 60_000;
  expect(node.reconcile({ isPublished: false }).view).toMatchObject({ phase: "draining", slot: "a" });
  node.reconcile();
  node.nowMs += 9000;
  node.restart();
  node.reconcile();
  node.nowMs += 9900;
  expect(node.reconcile().changed).toBe(false);
  node.nowMs += 100;
  expect(node.reconcile().changed).toBe(true);
});

test("peers that never leave are waited for, then named in one warning", () => {
  using node = new RotatingNode(newDirectory());
  const names = Array.from({ length: 12 }, (_, i) => `n${i + 2}`);
  node.reconcile();
  node.nowMs += 1000;
  node.reconcile(streaming(names, "a", node.nowMs));
  node.nowMs += 299_000;
  const waiting = node.reconcile(streaming(names, "a", node.nowMs));
  expect(waiting.view).toEqual({ phase: "draining", slot: "a", waitingFor: names });
  expect(waiting.wakeInMs).toBe(1000);
  // Once, however long the wait is.
  node.reconcile(streaming(names, "a", node.nowMs));
  expect(node.logged().filter((line) => line.includes("waits for peers"))).toEqual([
    'info  rotation waits for peers to leave the slot slot=a peers="n2, n3, n4, n5, n6, n7, n8, n9, n10, n11 and 2 more"',
  ]);
  node.nowMs += 1000;
  expect(node.reconcile(streaming(names, "a", node.nowMs)).changed).toBe(true);
  const [warning, ...rest] = node.logged();
  expect(warning).toBe(
    'warn  peers did not leave the slot in time: what they still send to its old key is lost slot=a peers="n2, n3, n4, n5, n6, n7, n8, n9, n10, n11 and 2 more"',
  );
  expect(rest.filter((line) => line.startsWith("warn"))).toEqual([]);
});

describe("what holds it up is said once, and in the view", () => {
  test("without a records directory any more", () => {
    using node = new RotatingNode(newDirectory());
    node.reconcile();
    node.logged();
    node.store.putSetting("recordsDir", undefined);
    for (let i = 0; i < 3; i++)
      expect(node.reconcile().view).toMatchObject({
        phase: "held",
        slot: "a",
        reason: expect.stringContaining("recordsDir"),
      });
    expect(node.logged()).toHaveLength(1);
    node.store.putSetting("recordsDir", "/records");
    node.finish();
    expect(node.stage).toBe("a active, b active");
  });

  test("a seal key that is missing: the old keys stay, the agent goes on", () => {
    using node = new RotatingNode(newDirectory());
    const before = node.publicKeys;
    node.reconcile();
    node.reconcile();
    node.logged();
    renameSync(node.sealKeyFile, `${node.sealKeyFile}.away`);
    node.nowMs += 20_000;
    for (let i = 0; i < 3; i++)
      expect(node.reconcile()).toMatchObject({
        changed: false,
        view: { phase: "held", reason: expect.stringMatching(/seal key .* is missing/) },
      });
    const lines = node.logged();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^warn {2}key rotation halted reason=/);
    expect([node.publicKeys, node.stage]).toEqual([before, "a draining, b active; a, b to come"]);
    renameSync(`${node.sealKeyFile}.away`, node.sealKeyFile);
    node.finish();
    node.checkKeys();
  });

  test("a seal key that other users may read", () => {
    using node = new RotatingNode(newDirectory());
    node.reconcile();
    node.reconcile();
    chmodSync(node.sealKeyFile, 0o644);
    node.nowMs += 20_000;
    expect(node.reconcile().view).toMatchObject({
      phase: "held",
      reason: expect.stringContaining("chmod 600"),
    });
  });
});

test("keys that an operator exchanges meanwhile are never put back", () => {
  using node = new RotatingNode(newDirectory());
  const sealKey = new Uint8Array(32);
  const made = makeSlotKeys(sealKey, "n1", slots, wallStartMs);
  const { store } = node;
  // Between the decision and its transaction, another process is faster.
  const transaction = store.transaction.bind(store);
  let first = true;
  store.transaction = (inside) => {
    if (first) {
      first = false;
      store.putIdentity({ ...(store.identity() as Identity), slots: made });
    }
    return transaction(inside);
  };
  expect(node.reconcile().view.phase).toBe("scheduled");
  expect([node.publicKeys, node.stage]).toEqual([
    made.map(({ publicKey }) => publicKey),
    "a active, b active",
  ]);
  expect(store.rotation()).toBeUndefined();
});

test("a clock that is stepped while a slot drains: the drain takes as long, and one rotation may come early", () => {
  for (const day of [86_400_000, -86_400_000]) {
    using node = new RotatingNode(newDirectory());
    node.reconcile();
    node.reconcile();
    node.offsetMs += day;
    node.nowMs += 9000;
    expect(node.reconcile().changed).toBe(false);
    node.nowMs += 1000;
    expect(node.reconcile().changed).toBe(true);
    node.finish();
    node.logged();
    node.offsetMs = wallStartMs;
    for (let i = 0; i < 200; i++, node.nowMs += 60_000) node.reconcile();
    expect(node.stage).toBe("a active, b active");
    const done = node.logged().filter((line) => line.includes("the rotation is done"));
    expect(done.length).toBeLessThanOrEqual(1);
  }
});

test("killed at any point, it continues from the point it had reached, and no key is lost", async () => {
  const child = async (directory: string, dieAt: string) => {
    const argv = [process.execPath, resolve(import.meta.dir, "rotation-child.ts"), directory, dieAt];
    const run = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    const said = await new Response(run.stdout).text();
    await run.exited;
    return { said, killed: run.signalCode === "SIGKILL" };
  };
  const points = Number((await child(newDirectory(), "")).said);
  // Five transactions with seven changes in them, before and after each.
  expect(points).toBe(24);
  const at = Array.from({ length: points }, (_, i) => i);
  // One node is killed at each point; four at a time.
  for (let next = 0; next < at.length; next += 4)
    await Promise.all(
      at.slice(next, next + 4).map(async (point) => {
        const directory = newDirectory();
        {
          using made = new RotatingNode(directory);
          made.checkKeys();
        }
        expect((await child(directory, String(point))).killed).toBe(true);
        using node = new RotatingNode(directory);
        node.checkKeys();
        const draining = node.identity.slots.filter(({ state }) => state === "draining");
        for (const { slot } of draining) expect(node.store.rotation()?.remaining[0]).toBe(slot);
        node.finish();
        node.checkKeys();
        expect(node.stage).toBe("a active, b active");
        for (const { createdAtMs } of node.identity.slots)
          expect(createdAtMs).toBeGreaterThan(wallStartMs - 1);
      }),
    );
}, 120_000);
