// Objects as peers: in which order they are put, and who then owns what two claim.
import { expect, test } from "bun:test";
import type { Presence } from "../../src/kube/census.ts";
import { judgeObject, type RecordObject } from "../../src/kube/object.ts";
import { explainRejected, findTakenSlots, recordsToPut } from "../../src/kube/peers.ts";
import { recordOf } from "../sources/directory/directory.ts";
import { objectOf } from "./objects.ts";

const seen = (n: number, change: Parameters<typeof objectOf>[1] = {}) =>
  judgeObject(objectOf(recordOf(n), change)) as RecordObject;

test("those that were made first come first, by name if that is the same; the node's own is left out", () => {
  const objects = [
    seen(1, { createdAt: "2026-01-01T00:00:05Z" }),
    seen(2, { createdAt: "2026-01-01T00:00:03Z" }),
    seen(4, { createdAt: "2026-01-01T00:00:03Z" }),
    seen(3, { createdAt: "2025-12-31T23:59:59Z" }),
    seen(5, { spec: { podCIDRs: ["nonsense"] } }),
  ];
  const names = (list: readonly RecordObject[], own?: string) =>
    recordsToPut(list, own, new Set()).map(({ name }) => name);
  expect(names(objects)).toEqual(["node-3", "node-2", "node-4", "node-1"]);
  expect(names(objects.toReversed(), "node-2")).toEqual(["node-3", "node-4", "node-1"]);
});

test("known peers come before new ones, in the order in which they were written, whenever they were made", () => {
  const versions = ["17", "9", "10", "8", "11"];
  const objects = versions.map((resourceVersion, i) =>
    seen(i + 1, { resourceVersion, createdAt: `2026-01-01T00:00:0${9 - i}Z` }),
  );
  const names = (known: readonly string[]) =>
    recordsToPut(objects, undefined, new Set(known)).map(({ name }) => name);
  expect(names(["node-1", "node-2", "node-3"])).toEqual(["node-2", "node-3", "node-1", "node-5", "node-4"]);
  expect(names(objects.map(({ name }) => name))).toEqual(["node-4", "node-2", "node-3", "node-5", "node-1"]);
});

test("what is refused has a name, a reason, and what becomes of the peer", () => {
  const objects = [seen(1), seen(3, { nodeUid: "" }), seen(2, { spec: { podCIDRs: ["nonsense"] } })];
  expect(explainRejected(objects, undefined, new Set(["node-2"]), () => "present")).toEqual([
    {
      file: "wireguardnode/node-2",
      reason:
        'spec.podCIDRs[0]: "nonsense" is not a CIDR (expected ADDRESS/LENGTH); the record taken before stays',
    },
    {
      file: "wireguardnode/node-3",
      reason:
        "it is not owned by Node node-3, so it would outlive it: the agent of node-3 writes it with an owner",
    },
  ]);
  expect(explainRejected(objects, "node-3", new Set(), () => undefined).map(({ file }) => file)).toEqual([
    "wireguardnode/node-2",
  ]);
});

test("a record without its Node is refused, whatever is in it", () => {
  const objects = [seen(1), seen(2, { spec: { podCIDRs: ["nonsense"] } }), seen(3), seen(4)];
  const standings: Record<string, Presence> = {
    "node-1": "absent",
    "node-2": "replaced",
    "node-3": "present",
  };
  expect(
    explainRejected(objects, undefined, new Set(["node-1", "node-2"]), ({ name }) => standings[name]),
  ).toEqual([
    {
      file: "wireguardnode/node-1",
      reason: "there is no Node node-1 in the cluster, and a record counts only while its Node is there",
    },
    {
      file: "wireguardnode/node-2",
      reason:
        "it is owned by an earlier Node node-2: the agent of node-2 writes it with the present one as its owner",
    },
  ]);
});

test("a slot is taken if another record names its key and the node's own does not", () => {
  const own = recordOf(1);
  const copy = seen(2, { spec: { slots: [{ ...own.slots[1], slot: "a" }] } });
  expect(findTakenSlots([copy, seen(3)], own)).toEqual(["b"]);
  expect(findTakenSlots([seen(1, { spec: { slots: [] } }), copy], own)).toEqual(["b"]);
  // A copy that slipped through beside the node's record costs it nothing.
  expect(findTakenSlots([seen(1), copy], own)).toEqual([]);
  expect(findTakenSlots([seen(2), seen(3)], own)).toEqual([]);
});
