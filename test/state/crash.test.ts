// Processes killed at any point: no address is lost or given twice, and a
// transaction is there as a whole or not at all.
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { Store } from "../../src/state/store.ts";
import { owner } from "./samples.ts";
import { newStateDir, removeStateDirs, startChild } from "./support.ts";

afterAll(removeStateDirs);

/** Each lease has its attachment and each standalone attachment its leases; the file is sound. */
function expectConsistent(dir: string): Store {
  const store = Store.open(dir, "b1");
  const leased = store.leases().map(({ owner, ip }) => `${owner.containerID} ${ip}`);
  const attached = store
    .attachments()
    .flatMap(({ containerID, ips }) => ips.map((ip) => `${containerID} ${ip}`));
  expect(leased.sort()).toEqual(attached.sort());
  using database = new Database(`${dir}/state.db`);
  expect(database.query("PRAGMA integrity_check").values()).toEqual([["ok"]]);
  return store;
}

test("killed before any statement of an ADD, all of the transaction is there or nothing", async () => {
  const dir = newStateDir();
  // Statements 0 to 3 are in the transaction (3: before its COMMIT).
  const expected = [false, false, false, false, true];
  for (const [at, there] of expected.entries()) {
    const child = startChild("add", dir, "b1", `c${at}`, String(at));
    await child.exited;
    expect(child.signalCode).toBe("SIGKILL");
    using store = expectConsistent(dir);
    expect(store.findAttachment(owner(`c${at}`)) !== undefined).toBe(there);
  }
}, 30_000);

test("killed at random while four work, no lease is without its attachment", async () => {
  const dir = newStateDir();
  for (let round = 0; round < 5; round++) {
    const children = Array.from({ length: 4 }, (_, i) => startChild("addloop", dir, "b1", `r${round}-${i}`));
    await Bun.sleep(150 + 40 * round);
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => child.exited));
    using store = expectConsistent(dir);
    // At most the one that each was working on.
    expect(store.attachments().length).toBeLessThanOrEqual(4 * (round + 1));
  }
}, 30_000);
