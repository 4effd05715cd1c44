// Proofs on their way from a record to a claim: verified once, in slices, remembered in the store, and
// decided by alike on every node and after every restart. The records are of a directory and of the API.
import { expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import type { NodeRecord, SlotRecord } from "../../src/net/record.ts";
import { resolveClaims } from "../../src/plan/peers/claims.ts";
import { toClaimingPeer } from "../../src/reconcile/node-reader.ts";
import { addMissingProofs, replaceTakenKeys } from "../../src/sources/own-keys.ts";
import { isProven } from "../../src/sources/proof-check.ts";
import { ProofQueue } from "../../src/sources/proof-queue.ts";
import { generateKeyPair } from "../../src/state/keys.ts";
import { makeProof } from "../../src/state/proof.ts";
import { readOrCreateSealKey } from "../../src/state/seal.ts";
import { makeSlotKeys } from "../../src/state/slot-key.ts";
import type { Store } from "../../src/state/store.ts";
import { Log } from "../../src/telemetry/log.ts";
import { objectOf } from "../kube/objects.ts";
import { Directory, own, recordOf } from "./directory/directory.ts";
import { FakeApi } from "./fake-api.ts";
import { KubeNode } from "./kube-server.ts";

setDefaultTimeout(60_000);

/** The record of node-N with keys that somebody has, and their proofs. */
function provenRecord(n: number, change: Partial<NodeRecord> = {}): NodeRecord {
  const record = recordOf(n);
  const slots = record.slots.map((slot): SlotRecord => {
    const { privateKey, publicKey } = generateKeyPair();
    return {
      ...slot,
      publicKey,
      proof: makeProof({ node: record.name, slot: slot.slot }, privateKey, publicKey),
    };
  });
  return { ...record, slots, ...change };
}

const withoutProofs = ({ slots }: NodeRecord) => slots.map(({ proof: _, ...slot }) => slot);
const claimsOf = (store: Store) =>
  resolveClaims(
    { ...own, publicKeys: own.slots.map(({ publicKey }) => publicKey) },
    store.peers().map(toClaimingPeer),
  );
/** Peer -> keys that are its own. */
const keysOf = (store: Store) =>
  Object.fromEntries(
    claimsOf(store).peers.map(({ name, slots }) => [name, slots.map(({ publicKey }) => publicKey)]),
  );
const publicKeysOf = ({ slots }: Pick<NodeRecord, "slots">) => slots.map(({ publicKey }) => publicKey);

test("a proof is asked for once, and again when node, slot, key or proof is another", () => {
  using directory = new Directory();
  const record = provenRecord(1);
  const asked: string[] = [];
  const put = (one: NodeRecord, isProven = true) =>
    directory.store.putPeers([one], "import", (node, { slot }) => {
      asked.push(`${node} ${slot}`);
      return isProven;
    });
  put(record);
  put({ ...record, podCIDRs: ["10.99.0.0/24"] });
  put({ ...record, slots: record.slots.map((slot) => ({ ...slot, port: 4500, state: "draining" })) });
  expect(asked).toEqual(["node-1 a", "node-1 b"]);
  expect(directory.store.unverified(record)).toEqual([]);
  const [a, b] = record.slots as [SlotRecord, SlotRecord];
  const next = { ...record, slots: [{ ...a, proof: b.proof as string }, b] };
  expect(directory.store.unverified(next)).toEqual([next.slots[0] as SlotRecord]);
  put(next, false);
  expect(asked.slice(2)).toEqual(["node-1 a"]);
  // A refused key stays refused, without another verification.
  put({ ...next, podCIDRs: [] });
  expect([asked.length, directory.store.peers()[0]?.unproven]).toEqual([3, ["a"]]);
  put({ ...record, slots: withoutProofs(record) });
  expect([asked.length, directory.store.peers()[0]?.unproven]).toEqual([3, []]);
});

test("many proofs are verified in slices of time, and each once", () => {
  using directory = new Directory();
  const records = Array.from({ length: 20 }, (_, i) => provenRecord(i));
  let nowMs = 0;
  const queue = new ProofQueue(directory.store, () => (nowMs += 10));
  let calls = 1;
  while (!queue.verify(records)) calls++;
  expect(calls).toBeGreaterThan(2);
  expect(calls).toBeLessThan(20);
  directory.store.putPeers(records, "import", queue.isProven);
  expect(directory.store.peers().flatMap(({ unproven }) => unproven)).toEqual([]);
  expect(new ProofQueue(directory.store, () => 0).verify(records)).toBe(true);
});

test("of a directory: a copy that is read with the owner's new key, by name before it, gets nothing", () => {
  using directory = new Directory();
  const [thief, owner] = [provenRecord(1), provenRecord(2)];
  for (const record of [thief, owner]) directory.put(record);
  directory.look();
  const rotated = provenRecord(2);
  directory.put(rotated);
  directory.put({ ...thief, slots: rotated.slots });
  directory.look();
  expect(keysOf(directory.store)).toEqual({ "node-1": [], "node-2": publicKeysOf(rotated) });
  directory.put({ ...thief, slots: withoutProofs(rotated) });
  directory.look();
  expect(keysOf(directory.store)).toEqual({ "node-1": [], "node-2": publicKeysOf(rotated) });
});

const putRecord = (api: FakeApi, record: NodeRecord, createdAt: string) => {
  const { metadata, ...object } = objectOf(record, { createdAt });
  const { resourceVersion: _, ...rest } = metadata;
  api.putRecord({ ...object, metadata: rest });
};

test.each([
  ["with its proof", (slots: readonly SlotRecord[]) => slots],
  ["without", (slots: readonly SlotRecord[]) => slots.map(({ proof: _, ...slot }) => slot)],
])("of the API: a node that joins gives an older object nothing that was copied %s", async (_, copy) => {
  await using api = await FakeApi.start();
  const [thief, owner] = [recordOf(1), provenRecord(2)];
  putRecord(api, { ...thief, slots: copy(owner.slots) }, "2026-01-01T00:00:01Z");
  putRecord(api, owner, "2026-01-01T00:00:09Z");
  using node = new KubeNode(api);
  await node.until("both are there", () => node.names === "node-1 node-2");
  const before = { "node-1": [], "node-2": publicKeysOf(owner) };
  expect(keysOf(node.store)).toEqual(before);
  // As after a restart of the agent: another source on the same store.
  using again = new KubeNode(api);
  await again.until("both are there", () => again.names === "node-1 node-2");
  expect(keysOf(again.store)).toEqual(before);
});

test("of the API, without proofs: of known peers the one that wrote first has the key, whichever object is older", async () => {
  await using api = await FakeApi.start();
  const [thief, owner] = [recordOf(1), recordOf(2)];
  putRecord(api, thief, "2026-01-01T00:00:01Z");
  putRecord(api, owner, "2026-01-01T00:00:09Z");
  using node = new KubeNode(api);
  await node.until("both are there", () => node.names === "node-1 node-2");
  const rotated = { ...owner, slots: recordOf(7).slots };
  const { changes } = node;
  putRecord(api, rotated, "2026-01-01T00:00:09Z");
  putRecord(api, { ...thief, slots: rotated.slots }, "2026-01-01T00:00:01Z");
  // Both are heard before the node looks.
  while (node.changes < changes + 2) await Bun.sleep(10);
  node.look();
  expect(keysOf(node.store)).toEqual({ "node-1": [], "node-2": publicKeysOf(rotated) });
});

/** A store with an identity of its own, and what the agent says. */
function ownKeys(directory: Directory) {
  const { store } = directory;
  const lines: string[] = [];
  const log = new Log({
    ...{ format: "text", level: "debug", now: () => "" },
    write: (line) => lines.push(line),
  });
  const path = `${directory.path}/seal.key`;
  store.putSetting("sealKeyFile", path);
  const slots = makeSlotKeys(readOrCreateSealKey(path), "node-0", ["a", "b"], 1);
  const identity = {
    ...{ name: "node-0", endpoints: [], endpointsFound: false, nodeIPs: [], nodeIPsFollow: false },
    ...{ podCIDRs: [], slots, up: true },
  };
  store.putIdentity(identity);
  return { store, log, lines, identity, path };
}

test("keys that another record has taken are exchanged, and no other", () => {
  using directory = new Directory();
  const { store, log, lines, identity } = ownKeys(directory);
  const { slots } = identity;
  expect(replaceTakenKeys(store, [], log, 2)).toBe(false);
  expect(replaceTakenKeys(store, ["b"], log, 2)).toBe(true);
  const [a, b] = store.identity()?.slots ?? [];
  expect([a?.publicKey === slots[0]?.publicKey, b?.publicKey === slots[1]?.publicKey]).toEqual([true, false]);
  expect([b?.createdAtMs, typeof b?.proof, lines.length]).toEqual([2, "string", 1]);
});

test("keys from before there were proofs get theirs, once, and stay the same keys", () => {
  using directory = new Directory();
  const { store, log, lines, identity, path } = ownKeys(directory);
  expect(addMissingProofs(store, identity, log)).toBe(false);
  const older = { ...identity, slots: identity.slots.map(({ proof: _, ...slot }) => slot) };
  store.putIdentity(older);
  expect(addMissingProofs(store, older, log)).toBe(true);
  const now = store.identity();
  expect(now).toEqual(identity);
  for (const slot of now?.slots ?? []) expect(isProven("node-0", { ...slot, port: 51820 })).toBe(true);
  expect(lines).toHaveLength(1);
  // Without the seal key there is nothing to sign with, and nothing else changes.
  store.putIdentity(older);
  rmSync(path);
  expect(addMissingProofs(store, older, log)).toBe(false);
  expect(store.identity()).toEqual(older);
});
