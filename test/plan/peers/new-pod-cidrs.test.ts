// What is added to a mesh ahead of a sync: only new pod CIDRs, and nothing that was there moves or goes.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { keepEqualItems } from "../../../src/net/keep.ts";
import { closedPath } from "../../../src/net/path.ts";
import { isAddition } from "../../../src/plan/mesh/addition.ts";
import { desiredMesh } from "../../../src/plan/mesh/desired.ts";
import { diffMesh } from "../../../src/plan/mesh/diff.ts";
import type { Mesh } from "../../../src/plan/mesh/model.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import type { ClaimingPeer, OwnedPeer } from "../../../src/plan/peers/model.ts";
import { withNewPodCIDRs } from "../../../src/plan/peers/new-pod-cidrs.ts";
import { countedElements } from "../../../src/plan/report/plaintext-evidence.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { renderRoute } from "../../../src/plan/step.ts";
import { claimingPeers, runs } from "../meshes.ts";
import { applyToModel } from "../model.ts";
import { localRecord } from "../random.ts";

const peer = (name: string, ...podCIDRs: string[]): OwnedPeer => ({
  ...{ name, slots: [], endpoints: [], nodeIPs: [], podCIDRs },
});
const n1 = peer("n1", "10.1.0.0/24");
const n2 = peer("n2", "10.2.0.0/24");
const n3: OwnedPeer = { ...peer("n3", "10.3.0.0/16"), nodeIPs: ["192.0.2.7"] };
const before = [n1, n2, n3];
const none: ReadonlySet<string> = new Set();
const cidrsOf = (peers: readonly OwnedPeer[] | undefined) => peers?.map(({ podCIDRs }) => podCIDRs.join());

test.each<[string, OwnedPeer[], string[]]>([
  [
    "a new one beside those that stay",
    [n1, peer("n2", "10.2.0.0/24", "10.9.0.0/24"), n3],
    ["10.2.0.0/24,10.9.0.0/24"],
  ],
  ["a new one in the place of another", [n1, peer("n2", "10.9.0.0/24"), n3], ["10.2.0.0/24,10.9.0.0/24"]],
  ["a new one while another peer goes", [n1, peer("n2", "10.9.0.0/24")], ["10.2.0.0/24,10.9.0.0/24"]],
  [
    "a new one while another peer comes",
    [n1, peer("n11", "10.11.0.0/24"), peer("n2", "10.9.0.0/24"), n3],
    ["10.2.0.0/24,10.9.0.0/24"],
  ],
])("%s is added, and nothing else is", (_, now, [n2Cidrs = ""]) => {
  expect(cidrsOf(withNewPodCIDRs(before, now, none))).toEqual(["10.1.0.0/24", n2Cidrs, "10.3.0.0/16"]);
});

test.each<[string, OwnedPeer[]]>([
  ["nothing has changed", before],
  ["a CIDR goes", [n1, peer("n2"), n3]],
  ["a peer comes", [n1, n2, n3, peer("n4", "10.4.0.0/24")]],
  ["a CIDR passes to another peer", [peer("n1", "10.1.0.0/24", "10.2.0.0/24"), peer("n2"), n3]],
  [
    "a part of a CIDR that a peer gives up passes to another one",
    [peer("n1", "10.1.0.0/24", "10.3.7.0/24"), n2, { ...n3, podCIDRs: [] }],
  ],
  ["a peer takes the CIDR of one that goes", [peer("n1", "10.1.0.0/24", "10.3.0.0/16"), n2]],
  ["a peer exchanges a CIDR for a part of it", [n1, n2, { ...n3, podCIDRs: ["10.3.7.0/24"] }]],
  [
    "the peer's keys change too",
    [
      n1,
      { ...peer("n2", "10.9.0.0/24"), slots: [{ slot: "a", publicKey: "K", port: 1, state: "active" }] },
      n3,
    ],
  ],
  [
    "a pod gets the address of a node that gives it up",
    [peer("n1", "10.1.0.0/24", "192.0.2.7/32"), n2, { ...n3, nodeIPs: [] }],
  ],
  ["the peer's addresses change too", [n1, { ...peer("n2", "10.9.0.0/24"), nodeIPs: ["192.0.2.2"] }, n3]],
  [
    "hundreds of CIDRs are new",
    [n1, peer("n2", ...Array.from({ length: 100 }, (_, i) => `10.${i + 50}.0.0/24`)), n3],
  ],
])("nothing is added if %s", (_, now) => {
  expect(withNewPodCIDRs(before, now, none)).toBeUndefined();
});

test("a CIDR whose counters were read before it went is not added before they are read again", () => {
  const evidence = { counting: { sinceMs: 0, bases: { "pods4_in 10.9.0.0/24": 3 } }, peers: new Map() };
  const now = [n1, peer("n2", "10.9.0.0/24", "10.8.0.0/24"), n3];
  expect(cidrsOf(withNewPodCIDRs(before, now, countedElements(evidence)))).toEqual([
    "10.1.0.0/24",
    "10.2.0.0/24,10.8.0.0/24",
    "10.3.0.0/16",
  ]);
});

/** The same peers, and some of them have other pod CIDRs then. */
const histories = claimingPeers.chain((peers) =>
  fc.tuple(fc.constant(peers), fc.tuple(...peers.map((one) => fc.oneof(fc.constant(one), otherCIDRs(one))))),
);

function otherCIDRs({ record, claimedAt }: ClaimingPeer): fc.Arbitrary<ClaimingPeer> {
  return fc
    .subarray(["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/16", "10.3.7.0/24", "10.8.0.0/24", "fd00:8::/64"])
    .map((podCIDRs) => ({
      record: { ...record, podCIDRs },
      claimedAt: () => new Map([...podCIDRs.map((cidr) => [cidr, 99] as const), ...claimedAt()]),
    }));
}

const facts = {
  ...{
    node: localRecord,
    linkKind: "wireguard" as const,
    mtu: 1420,
    podIPs: [],
    changedPeers: new Set<string>(),
  },
  ...{ hasFirewall: true, hasConntrack: true, uplinks: ["eth0"], hostEncryption: true },
};
const publicKeys = localRecord.slots.map(({ publicKey }) => publicKey);
const ownKeys = { a: publicKeys[0] ?? "", b: publicKeys[1] ?? "" };
const options = { slotOf: new Map(), nowMs: 0, ownIPs: [] };
const routesOf = ({ routes }: Mesh) => routes.map(renderRoute);
const allowedBy = ({ devices }: Mesh) =>
  [...devices].flatMap(([dev, { peers }]) =>
    [...peers].flatMap(([key, { allowedIPs }]) => allowedIPs.map((ip) => `${dev} ${key} ${ip}`)),
  );

test("whatever peers announce, what is added takes nothing away, and a sync has less left to do", () => {
  let additions = 0;
  const property = (mode: string, isOpen: boolean, [first, second]: readonly ClaimingPeer[][]) => {
    const resolve = (peers: readonly ClaimingPeer[] = []) =>
      resolveClaims({ ...localRecord, publicKeys }, peers).peers;
    const known = resolve(first);
    const now = keepEqualItems(resolve(second), known);
    const grown = withNewPodCIDRs(known, now, none);
    if (grown === undefined) return;
    additions++;
    const paths = new Map(
      isOpen ? known.map(({ name }) => [name, { ...closedPath, slot: "a" as const }]) : [],
    );
    const meshOf = (peers: readonly OwnedPeer[]) =>
      desiredMesh({ ...facts, settings: parseSettings({ mode }), paths, ownership: { peers, refusals: [] } });
    const programmed = meshOf(known);
    const steps = diffMesh(meshOf(grown), programmed, options);
    expect(steps.every(isAddition)).toBe(true);
    const after = applyToModel(programmed, steps, ownKeys);
    expect(routesOf(after)).toEqual(expect.arrayContaining(routesOf(programmed)));
    expect(allowedBy(after)).toEqual(expect.arrayContaining(allowedBy(programmed)));
    expect(diffMesh(meshOf(grown), after, options)).toEqual([]);
    const rest = diffMesh(meshOf(now), after, options);
    expect(rest.length).toBeLessThanOrEqual(diffMesh(meshOf(now), programmed, options).length);
    expect(diffMesh(meshOf(now), applyToModel(after, rest, ownKeys), options)).toEqual([]);
  };
  fc.assert(fc.property(fc.constantFrom("permissive", "strict"), fc.boolean(), histories, property), {
    ...runs,
    numRuns: 1000,
  });
  expect(additions).toBeGreaterThan(100);
});
