// Rebuilding damaged stores: what is kept was written, the identity stays, and what is lost is said.
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { repairState } from "../../src/state/salvage.ts";
import { Store } from "../../src/state/store.ts";
import { makeRandom } from "../plan/random.ts";
import { damage, type Files } from "./damage/damage.ts";
import {
  boot,
  knownAttachments,
  knownLeases,
  knownPeers,
  makeTemplate,
  presentIdentity,
  textOf,
} from "./damage/store.ts";
import { newStateDir, removeStateDirs } from "./support.ts";

afterAll(removeStateDirs);

const template = makeTemplate(newStateDir());

function lay(dir: string, files: Files): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { mode: 0o700 });
  for (const [name, bytes] of files) writeFileSync(`${dir}/${name}`, bytes, { mode: 0o600 });
}

test("a sound store is left as it is", () => {
  const dir = newStateDir();
  lay(dir, template.files);
  expect(repairState(dir)).toEqual({ identityRestored: false });
  const name = "identity.json";
  expect(readFileSync(`${dir}/${name}`).equals(template.files.get(name) as Uint8Array)).toBe(true);
  expect(readdirSync(dir).filter((file) => file.includes("damaged"))).toEqual([]);
  using store = Store.open(dir, boot);
  expect([store.peers().length, store.attachments().length]).toEqual([45, 200]);
});

test("a damaged store works again, with what was written and the identity; a second repair finds nothing", () => {
  const dir = newStateDir();
  let rebuilt = 0;
  for (let seed = 0; seed < 60; seed++) {
    const { files, what } = damage(template.files, template.olderLog, makeRandom(seed));
    lay(dir, files);
    const salvage = repairState(dir);
    if (salvage.rebuilt !== undefined) rebuilt++;
    const label = `seed ${seed}, ${what}`;
    using store = Store.open(dir, boot);
    expect(`${label}: ${textOf(store.identity())}`).toBe(`${label}: ${textOf(presentIdentity)}`);
    const peers = store.peers();
    for (const { record } of peers) expect(knownPeers.has(textOf(record))).toBe(true);
    for (const one of store.attachments()) expect(knownAttachments.has(textOf(one))).toBe(true);
    for (const one of store.leases()) expect(knownLeases.has(textOf(one))).toBe(true);
    // Without a lost row that is said, all that was in the database before the log is there.
    if (salvage.rebuilt === undefined) expect(peers.length).toBeGreaterThanOrEqual(40);
    else expect(salvage.rebuilt.lost.length).toBeGreaterThan(0);
    expect([label, repairState(dir)]).toEqual([label, { identityRestored: false }]);
  }
  expect(rebuilt).toBeGreaterThan(5);
}, 60_000);

test("a store of which only the copy of the identity is left has the identity again", () => {
  const dir = newStateDir();
  lay(dir, new Map([...template.files].filter(([name]) => name === "identity.json")));
  expect(repairState(dir)).toEqual({ identityRestored: true, databaseAbsent: true });
  using store = Store.open(dir, boot);
  expect(textOf(store.identity())).toBe(textOf(presentIdentity));
});

test("one damaged row costs that row", () => {
  const dir = newStateDir();
  lay(dir, template.files);
  {
    using store = Store.open(dir, boot);
    expect(store.peers()).toHaveLength(45);
  }
  const path = `${dir}/state.db`;
  const bytes = readFileSync(path);
  // A byte of a public key, as a disk changes it.
  const at = bytes.indexOf(Buffer.from('"name":"node-20"'));
  bytes[at + 13] = "9".charCodeAt(0);
  writeFileSync(path, bytes);
  const { rebuilt } = repairState(dir);
  expect(rebuilt?.lost).toEqual(['the row of peers that is named "node-20"']);
  expect(rebuilt?.kept).toMatchObject({ peers: 44, attachments: 200, leases: 402 });
  using store = Store.open(dir, boot);
  expect(store.settings()).toEqual({ mode: "strict" });
  expect(store.peers()).toHaveLength(44);
}, 20_000);

const revert = { atMs: 7, reason: "the control plane did not answer" };

/** A store in which the agent has noted something, and which a statement then damages. */
function layWithNotes(statement: string): string {
  const dir = newStateDir();
  lay(dir, template.files);
  {
    using store = Store.open(dir, boot);
    store.setGated(true);
    store.putHostRevert(revert);
    store.putLapses([{ owner: "node-1", claimant: "node-2", claim: "10.9.0.0/24" }]);
    store.putAnnounced(["10.1.0.5/32"]);
  }
  using db = new Database(`${dir}/state.db`);
  db.run(statement);
  return dir;
}

const notesOf = (dir: string) => {
  using store = Store.open(dir, boot);
  return {
    gated: store.gated,
    revert: store.hostRevert(),
    lapses: store.lapses().length,
    announced: store.announced(),
  };
};

test("what the agent has noted outlives a repair of another row", () => {
  const dir = layWithNotes("UPDATE peers SET sum = 'x' WHERE name = 'node-20'");
  expect(repairState(dir).rebuilt?.lost).toEqual(['the row of peers that is named "node-20"']);
  expect(notesOf(dir)).toEqual({ gated: true, revert, lapses: 1, announced: ["10.1.0.5/32"] });
}, 20_000);

test("a damaged note of the agent costs that note", () => {
  const dir = layWithNotes("UPDATE agent SET lapses = '[{'");
  expect(repairState(dir).rebuilt?.lost).toHaveLength(1);
  expect(notesOf(dir)).toEqual({ gated: true, revert, lapses: 0, announced: ["10.1.0.5/32"] });
}, 20_000);

test("a store without the agent's row names all that was in it, and peers stay gated", () => {
  const dir = layWithNotes("DELETE FROM agent");
  expect(repairState(dir).rebuilt?.lost).toHaveLength(5);
  expect(notesOf(dir)).toEqual({ gated: true, revert: undefined, lapses: 0, announced: [] });
}, 20_000);
