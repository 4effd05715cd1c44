// The owner of a key that several records name is the node that proves it, else the one that claimed it first;
// no node owns a key by a proof that is not its own. A path that is open does not change.
import { describe, expect, test } from "bun:test";
import type { NodeRecord, Slot, SlotRecord } from "../../../src/net/record.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import type { ClaimingPeer } from "../../../src/plan/peers/model.ts";
import { isBarred, isKeyless, resolvePath } from "../../../src/plan/peers/path.ts";
import { key } from "../random.ts";

const local = { name: "me", publicKeys: [key(90), key(91)], nodeIPs: [], podCIDRs: [] };
const node: NodeRecord = { name: "me", slots: [], endpoints: ["192.0.2.90"], nodeIPs: [], podCIDRs: [] };
const proof = "A".repeat(86).concat("==");

interface Named {
  readonly n: number;
  readonly slot?: Slot;
  readonly isProven?: boolean;
  readonly state?: SlotRecord["state"];
}

interface Claimant {
  readonly name: string;
  readonly heard: number;
  readonly keys: readonly Named[];
  /** Slots with a proof of somebody else. */
  readonly unproven?: readonly Slot[];
}

function claimant({ name, heard, keys, unproven }: Claimant): ClaimingPeer {
  const slots = keys.map(({ n, slot = "a", isProven = false, state = "active" }) => ({
    ...{ slot, publicKey: key(n), port: 51820, state },
    ...(isProven || unproven?.includes(slot) ? { proof } : {}),
  }));
  const record = { name, slots, endpoints: ["192.0.2.1"], nodeIPs: [], podCIDRs: [] };
  return {
    record,
    claimedAt: () => new Map(slots.map(({ publicKey }) => [publicKey, heard])),
    ...(unproven === undefined ? {} : { unproven }),
  };
}

/** Owner of key 1, whatever the order in which the records are read. */
function ownerOf(...claimants: readonly Claimant[]): string[] {
  const orders = [claimants, claimants.toReversed()].map((order) => {
    const { peers } = resolveClaims(local, order.map(claimant));
    return peers
      .filter(({ slots }) => slots.some(({ publicKey }) => publicKey === key(1)))
      .map((p) => p.name);
  });
  expect(orders[0]).toEqual(orders[1] as string[]);
  return orders[0] as string[];
}

const victim = (heard: number, isProven = true, slot: Slot = "a"): Claimant => ({
  ...{
    name: "victim",
    heard,
    keys: [
      { n: 1, slot, isProven },
      { n: 2, slot: slot === "a" ? "b" : "a", isProven },
    ],
  },
});
const thief = (heard: number, change: Partial<Claimant> = {}): Claimant => ({
  ...{ name: "attacker", heard, keys: [{ n: 1 }, { n: 3, slot: "b", isProven: true }], ...change },
});

describe("a copied key", () => {
  const withProof = { unproven: ["a"] as const };
  const inOther = {
    keys: [
      { n: 3, isProven: true },
      { n: 1, slot: "b" as const },
    ],
  };
  test.each<[string, readonly Claimant[], readonly string[]]>([
    ["copied after the victim was heard", [victim(1), thief(2)], ["victim"]],
    ["copied before the victim was heard", [victim(2), thief(1)], ["victim"]],
    ["heard at the same time", [victim(1), thief(1)], ["victim"]],
    ["copied with its proof", [victim(2), thief(1, withProof)], ["victim"]],
    ["copied into the other slot", [victim(2), thief(1, inOther)], ["victim"]],
    [
      "copied into the other slot with its proof",
      [victim(2), thief(1, { ...inOther, unproven: ["b"] })],
      ["victim"],
    ],
    [
      "copied, and the attacker's slot is withdrawn",
      [victim(2), thief(1, { keys: [{ n: 1, state: "withdrawn" }] })],
      ["victim"],
    ],
    [
      "of a slot that drains",
      [{ ...victim(2), keys: [{ n: 1, isProven: true, state: "draining" }] }, thief(1)],
      ["victim"],
    ],
    [
      "of a slot that is withdrawn for now",
      [{ ...victim(2), keys: [{ n: 1, isProven: true, state: "withdrawn" }] }, thief(1)],
      ["victim"],
    ],
    ["three claimants", [victim(3), thief(1), thief(2, { name: "other" })], ["victim"]],
    [
      "three claimants, one with the proof",
      [victim(3), thief(1, withProof), thief(2, { name: "other" })],
      ["victim"],
    ],
    ["without proofs, the victim heard first", [victim(1, false), thief(2)], ["victim"]],
    [
      "without proofs, and with a copied one, the victim heard last",
      [victim(2, false), thief(1, withProof)],
      ["victim"],
    ],
    ["without proofs, the copy heard first", [victim(2, false), thief(1)], ["attacker"]],
    [
      "proven by both, who share a private key: the first heard",
      [victim(2), thief(1, { keys: [{ n: 1, isProven: true }] })],
      ["attacker"],
    ],
    ["with a proof that no other node claims: no owner", [thief(1, withProof)], []],
    ["without a proof that no other node claims: it counts", [thief(1)], ["attacker"]],
  ])("%s", (_, claimants, owners) => {
    expect(ownerOf(...claimants)).toEqual([...owners]);
  });

  test("says whose it is, and why the copy is refused", () => {
    const { refusals } = resolveClaims(
      local,
      [victim(1), thief(2, withProof), thief(3, { name: "other", keys: [{ n: 1 }] })].map(claimant),
    );
    expect(refusals.map(({ peer, claim, owner }) => [peer, claim, owner])).toEqual([
      ["attacker", key(1), "victim"],
      ["other", key(1), "victim"],
    ]);
    expect(refusals[0]?.reason).toContain(
      "has a proof that is not of attacker's slot a; the key is victim's",
    );
  });

  test("of this node is refused, with a proof and without, and the copier has no slot of it", () => {
    for (const unproven of [undefined, ["a"] as const]) {
      const copy = thief(1, {
        keys: [{ n: 90, isProven: unproven === undefined }],
        ...(unproven ? { unproven } : {}),
      });
      const { peers, refusals } = resolveClaims(local, [claimant(copy)]);
      expect(peers.map(({ slots, refusedSlots }) => [slots, refusedSlots])).toEqual([[[], ["a"]]]);
      expect(refusals.map(({ owner }) => owner)).toEqual(["me"]);
    }
  });
});

describe("a path that is open", () => {
  const paths = (slot: Slot) => new Map([["victim", { slot, candidate: 0, initiate: [], pinned: false }]]);
  const owned = (...claimants: readonly Claimant[]) => {
    const peer = resolveClaims(local, claimants.map(claimant)).peers.find(({ name }) => name === "victim");
    if (peer === undefined) throw new Error("the victim is gone");
    return peer;
  };

  test.each<[string, readonly Claimant[]]>([
    ["its other slot's new key is copied", [victim(2, true, "b"), thief(1)]],
    ["its other slot's new key is copied and it proves none", [victim(2, false, "b"), thief(1)]],
    ["its own slot's key is copied", [victim(2), thief(1)]],
  ])("stays as it is when %s", (_, claimants) => {
    const peer = owned(...claimants);
    expect(resolvePath(node, peer, paths("a"))).toMatchObject({ slot: "a" });
    expect([isKeyless(peer), isBarred(peer, paths("a"))]).toEqual([false, false]);
  });

  test("whose every key is refused is not keyless: what is sent there is refused, and not in plaintext", () => {
    const keys = [{ n: 1 }, { n: 2, slot: "b" as const }];
    const peer = owned({ name: "victim", heard: 2, keys }, { name: "attacker", heard: 1, keys });
    expect([isKeyless(peer), isBarred(peer, paths("a"))]).toEqual([false, true]);
  });

  test("the control: its own record without a key makes it keyless", () => {
    const peer = owned({ name: "victim", heard: 1, keys: [] }, thief(2));
    expect([isKeyless(peer), isBarred(peer, paths("a"))]).toEqual([true, false]);
  });
});
