// The store as its users see it: what is put is what is got, over processes,
// boots and failed transactions.
import { afterAll, expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import type { AppliedState, Identity } from "../../src/state/model.ts";
import { Store } from "../../src/state/store.ts";
import { attachment, owner, peer } from "./samples.ts";
import { newStateDir, removeStateDirs } from "./support.ts";

afterAll(removeStateDirs);

const identity: Identity = {
  name: "n1",
  endpoints: ["192.0.2.1"],
  nodeIPs: ["192.0.2.1", "2001:db8::1"],
  podCIDRs: ["10.1.0.0/24"],
  slots: [
    {
      slot: "a",
      createdAtMs: 1,
      publicKey: "A",
      sealedPrivateKey: new Uint8Array([1, 2, 255]),
      state: "active",
    },
    { slot: "b", createdAtMs: 1, publicKey: "B", sealedPrivateKey: new Uint8Array([3]), state: "draining" },
  ],
  up: true,
  endpointsFound: false,
  nodeIPsFollow: false,
};
const programmed: AppliedState = {
  generation: 3,
  bootId: "b1",
  netnsCookie: "17",
  mtu: { "wg-cni-a": 1440 },
};

test("a new state is empty, private and complete", () => {
  const dir = newStateDir();
  using store = Store.open(dir, "b1");
  expect(store.generation).toBe(0);
  expect(store.identity()).toBeUndefined();
  expect(store.applied()).toBeUndefined();
  expect([store.peers(), store.attachments(), store.leases(), store.savedSysctls()]).toEqual([
    [],
    [],
    [],
    [],
  ]);
  expect(store.settings()).toEqual({});
  store.putSetting("mtu", 1400);
  const modes = ["", "/state.db", "/state.db-wal", "/state.db-shm"].map(
    (name) => statSync(dir + name).mode & 0o777,
  );
  expect(modes).toEqual([0o700, 0o600, 0o600, 0o600]);
});

test("everything is read back as it was put, by another connection too", () => {
  const dir = newStateDir();
  using store = Store.open(dir, "b1");
  store.putIdentity(identity);
  store.putSetting("ports", { a: 1, b: [2, null, "x"] });
  store.putPeers([peer("p2"), peer("p1")]);
  store.setApplied(programmed);
  store.saveSysctl("/proc/sys/net/ipv4/ip_forward", "0");
  const full = attachment(owner("c1"), { hostDev: "veth1", ipam: "host-local", role: "standalone" });
  store.putAttachment(full);
  store.putAttachment(attachment(owner("c2", "other"), { ips: [], restore: null }));
  using second = Store.open(dir, "b1");
  expect(second.identity()).toEqual(identity);
  expect(second.settings()).toEqual({ ports: { a: 1, b: [2, null, "x"] } });
  expect(second.peers().map(({ record }) => record)).toEqual([peer("p1"), peer("p2")]);
  expect(second.applied()).toEqual(programmed);
  expect(second.savedSysctls()).toEqual([{ path: "/proc/sys/net/ipv4/ip_forward", before: "0" }]);
  expect(second.findAttachment(owner("c1"))).toEqual(full);
  expect(second.attachments("other")).toEqual([attachment(owner("c2", "other"), { ips: [], restore: null })]);
  expect(second.attachments()).toHaveLength(2);
  expect(second.findAttachment(owner("c1", "other"))).toBeUndefined();
});

test("the version is another one after every commit of either process, and only then", () => {
  const dir = newStateDir();
  using one = Store.open(dir, "b1");
  using other = Store.open(dir, "b1");
  const changes = [
    () => one.putPeers([peer("n2")]),
    () => other.putPaths(new Map([["n2", { slot: "a", candidate: 0, pinned: false, initiate: [] }]]), false),
    () => other.putAttachment(attachment(owner("c1"))),
    () => one.setApplied(programmed),
  ];
  for (const change of changes) {
    const { version } = one;
    one.peers();
    expect(one.version).toBe(version);
    change();
    expect(one.version).not.toBe(version);
  }
});

test("the generation goes up with every change of intent, and with nothing else", () => {
  using store = Store.open(newStateDir(), "b1");
  const bumps = (change: () => void) => {
    const before = store.generation;
    change();
    return store.generation - before;
  };
  expect(bumps(() => store.putIdentity(identity))).toBe(1);
  expect(bumps(() => store.putIdentity({ ...identity, slots: [...identity.slots] }))).toBe(0);
  expect(bumps(() => store.putIdentity({ ...identity, up: false }))).toBe(1);
  expect(bumps(() => store.putIdentity({ ...identity, slots: [] }))).toBe(1);
  expect(bumps(() => store.putSetting("x", 1))).toBe(1);
  expect(bumps(() => store.putSetting("x", 1))).toBe(0);
  expect(bumps(() => store.putSetting("x", undefined))).toBe(1);
  expect(bumps(() => store.putSetting("x", undefined))).toBe(0);
  expect(bumps(() => store.putPeers([peer("p1"), peer("p2")]))).toBe(1);
  expect(bumps(() => store.putPeers([peer("p2"), peer("p1")]))).toBe(0);
  // The order of properties is not a change.
  const { podCIDRs, ...rest } = peer("p1");
  expect(bumps(() => store.putPeers([{ podCIDRs, ...rest }]))).toBe(0);
  expect(bumps(() => void store.removePeer("p1"))).toBe(1);
  expect(bumps(() => void store.removePeer("p1"))).toBe(0);
  expect(bumps(() => store.putAttachment(attachment(owner("c1"))))).toBe(0);
  expect(bumps(() => store.setApplied(programmed))).toBe(0);
});

test("a peer is read again after a change of either process, and an unchanged peer is the same object", () => {
  const dir = newStateDir();
  using one = Store.open(dir, "b1");
  using other = Store.open(dir, "b1");
  const find = (name: string) => one.peers().find(({ record }) => record.name === name);
  one.putPeers([peer("p1"), peer("p2")]);
  const [first, second] = one.peers();
  expect(one.peers().map((found, i) => found === [first, second][i])).toEqual([true, true]);
  const changes: [() => void, { podCIDRs?: string[]; source?: string } | undefined][] = [
    [() => other.putPeers([peer("p2", { podCIDRs: ["10.9.0.0/24"] })]), { podCIDRs: ["10.9.0.0/24"] }],
    // Another source of the same record.
    [() => other.putPeers([peer("p2", { podCIDRs: ["10.9.0.0/24"] })], "kube"), { source: "kube" }],
    [() => other.removePeer("p2"), undefined],
    [() => one.putPeers([peer("p2", { podCIDRs: ["10.8.0.0/24"] })]), { podCIDRs: ["10.8.0.0/24"] }],
  ];
  for (const [change, expected] of changes) {
    change();
    const found = find("p2");
    if (expected === undefined) expect(found).toBeUndefined();
    else expect({ source: found?.source, ...found?.record }).toMatchObject(expected);
    expect(find("p1")).toBe(first as NonNullable<typeof first>);
  }
});

test("peers that a transaction has read and undone are forgotten", () => {
  using store = Store.open(newStateDir(), "b1");
  const cidrs = () => store.peers().map(({ record }) => record.podCIDRs[0]);
  store.putPeers([peer("p1", { podCIDRs: ["10.1.0.0/24"] })]);
  expect(cidrs()).toEqual(["10.1.0.0/24"]);
  const undo = () =>
    store.transaction(() => {
      store.putPeers([peer("p1", { podCIDRs: ["10.2.0.0/24"] })]);
      expect(cidrs()).toEqual(["10.2.0.0/24"]);
      throw new Error("undone");
    });
  expect(undo).toThrow("undone");
  expect(cidrs()).toEqual(["10.1.0.0/24"]);
  store.putPeers([peer("p1", { podCIDRs: ["10.3.0.0/24"] })]);
  expect(cidrs()).toEqual(["10.3.0.0/24"]);
});

test("a claim keeps its place until it is dropped", () => {
  using store = Store.open(newStateDir(), "b1");
  const seqOf = (name: string, cidr: string) =>
    store
      .peers()
      .find(({ record }) => record.name === name)
      ?.claims()
      .cidrClaims.find((claim) => claim.cidr === cidr)?.seq ?? Number.NaN;
  const contested = "10.9.0.0/24";
  store.putPeers([peer("old", { podCIDRs: [contested] })]);
  store.putPeers([peer("new", { podCIDRs: [contested, "10.8.0.0/24"] })]);
  expect(seqOf("old", contested)).toBeLessThan(seqOf("new", contested));
  store.putPeers([peer("old", { podCIDRs: ["10.7.0.0/24", contested], endpoints: ["192.0.2.9"] })]);
  expect(seqOf("old", contested)).toBeLessThan(seqOf("new", contested));
  expect(seqOf("old", "10.7.0.0/24")).toBeGreaterThan(seqOf("new", contested));
  store.putPeers([peer("old", { podCIDRs: [] })]);
  store.putPeers([peer("old", { podCIDRs: [contested] })]);
  expect(seqOf("old", contested)).toBeGreaterThan(seqOf("new", contested));
  store.removePeer("new");
  store.putPeers([peer("new", { podCIDRs: [contested] })]);
  expect(seqOf("old", contested)).toBeLessThan(seqOf("new", contested));
});

test("all claims of all peers have different numbers", () => {
  using store = Store.open(newStateDir(), "b1");
  store.putPeers(
    Array.from({ length: 50 }, (_, i) => peer(`p${i}`, { nodeIPs: ["192.0.2.1", `192.0.2.${i}`] })),
  );
  store.putPeers(Array.from({ length: 50 }, (_, i) => peer(`p${i}`, { podCIDRs: [`10.${i}.0.0/24`] })));
  const seqs = store
    .peers()
    .map(({ claims }) => claims())
    .flatMap(({ keyClaims, cidrClaims, nodeIPClaims }) => [...keyClaims, ...cidrClaims, ...nodeIPClaims])
    .map(({ seq }) => seq);
  expect(new Set(seqs).size).toBe(seqs.length);
  expect(Math.min(...seqs)).toBe(1);
});

test("peers are put all or not at all, also inside a transaction that goes on", () => {
  using store = Store.open(newStateDir(), "b1");
  const broken = { ...peer("p2"), slots: undefined } as never;
  expect(() => store.putPeers([peer("p1"), broken])).toThrow();
  expect(store.peers()).toEqual([]);
  store.transaction(() => {
    store.putSetting("kept", true);
    expect(() => store.putPeers([peer("p1"), broken])).toThrow();
  });
  expect(store.peers()).toEqual([]);
  expect(store.settings()).toEqual({ kept: true });
});

test("a transaction that throws leaves nothing", () => {
  using store = Store.open(newStateDir(), "b1");
  const attempt = () =>
    store.transaction(() => {
      store.putLease({ owner: owner("c1"), ip: "10.1.0.2", rangeSet: 0 });
      store.putAttachment(attachment(owner("c1")));
      throw new Error("the kernel refused");
    });
  expect(attempt).toThrow("the kernel refused");
  expect(store.leases()).toEqual([]);
  expect(store.lastLease("pods", 0)).toBeUndefined();
  expect(store.attachments()).toEqual([]);
  store.putSetting("usable", true);
  expect(store.settings()).toEqual({ usable: true });
});

test("leases belong to their owner and leave with its attachment", () => {
  using store = Store.open(newStateDir(), "b1");
  const lease = { owner: owner("c1"), ip: "10.1.0.2", rangeSet: 0 };
  const second = { owner: owner("c1"), ip: "fd00::2", rangeSet: 1 };
  store.putLease(second);
  store.putLease(lease);
  store.putLease({ owner: owner("c2"), ip: "10.1.0.3", rangeSet: 0 });
  expect(() => store.putLease({ ...lease, owner: owner("c3") })).toThrow("UNIQUE");
  expect(store.isLeased("pods", "10.1.0.2")).toBe(true);
  expect(store.isLeased("other", "10.1.0.2")).toBe(false);
  expect(store.lastLease("pods", 0)).toBe("10.1.0.3");
  expect(store.leasesOf(owner("c1"))).toEqual([lease, second]);
  store.putAttachment(attachment(owner("c1")));
  expect(store.removeAttachment(owner("c1"))).toBe(true);
  expect(store.removeAttachment(owner("c1"))).toBe(false);
  expect(store.isLeased("pods", "10.1.0.2")).toBe(false);
  expect(store.releaseLeases(owner("c2"))).toEqual(["10.1.0.3"]);
  expect(store.leases()).toEqual([]);
  expect(store.lastLease("pods", 0)).toBe("10.1.0.3");
});

test("the first value saved of a sysctl is kept", () => {
  using store = Store.open(newStateDir(), "b1");
  store.saveSysctl("/proc/sys/x", "0");
  store.saveSysctl("/proc/sys/x", "1");
  expect(store.savedSysctls()).toEqual([{ path: "/proc/sys/x", before: "0" }]);
  store.forgetSysctl("/proc/sys/x");
  expect(store.savedSysctls()).toEqual([]);
});

test("a boot drops what it made meaningless and keeps the intent", () => {
  const dir = newStateDir();
  {
    using store = Store.open(dir, "b1");
    store.putIdentity(identity);
    store.putSetting("mtu", 1400);
    store.putPeers([peer("p1")]);
    store.setApplied(programmed);
    store.putAttachment(attachment(owner("c1")));
    store.putLease({ owner: owner("c1"), ip: "10.1.0.2", rangeSet: 0 });
    store.saveSysctl("/proc/sys/x", "0");
  }
  using store = Store.open(dir, "b2");
  expect([store.attachments(), store.leases(), store.savedSysctls()]).toEqual([[], [], []]);
  expect(store.lastLease("pods", 0)).toBeUndefined();
  expect(store.applied()).toBeUndefined();
  expect(store.identity()).toEqual(identity);
  expect(store.settings()).toEqual({ mtu: 1400 });
  expect(store.peers()).toHaveLength(1);
  expect(store.generation).toBe(3);
  store.putAttachment(attachment(owner("c1")));
  using again = Store.open(dir, "b2");
  expect(again.attachments()).toHaveLength(1);
});

test("opening, reading and putting what is there already write nothing", () => {
  const dir = newStateDir();
  using store = Store.open(dir, "b1");
  store.putIdentity(identity);
  store.putPeers([peer("p1")]);
  store.setApplied(programmed);
  const before = readFileSync(`${dir}/state.db-wal`);
  using second = Store.open(dir, "b1");
  second.putIdentity(identity);
  second.putPeers([peer("p1")]);
  second.setApplied(programmed);
  expect([second.generation, second.peers().length]).toEqual([2, 1]);
  expect(readFileSync(`${dir}/state.db-wal`).equals(before)).toBe(true);
});

test("an address is taken only if another attachment has exactly it", () => {
  using store = Store.open(newStateDir(), "b1");
  store.putAttachment(attachment(owner("c1"), { ips: ["10.1.0.5", "fd00::5"] }));
  store.putAttachment(attachment(owner("c2"), { ips: ["10.1.0.55"] }));
  const held = (of: string, ip: string) => store.isHeldByAnother(owner(of), ip);
  expect([held("c1", "10.1.0.5"), held("c2", "10.1.0.5"), held("c3", "fd00::5")]).toEqual([
    false,
    true,
    true,
  ]);
  expect([held("c3", "0.1.0.5"), held("c3", "fd00::"), held("c1", "10.1.0.55")]).toEqual([
    false,
    false,
    true,
  ]);
});

test("what the mesh says holds above the node's own, which are kept beside it", () => {
  using store = Store.open(newStateDir(), "b1");
  store.putSetting("mode", "permissive");
  store.putSetting("mtu", 1400);
  const { generation } = store;
  store.putMeshSettings({ mode: "strict" });
  expect(store.generation).toBe(generation + 1);
  store.putMeshSettings({ mode: "strict" });
  expect(store.generation).toBe(generation + 1);
  expect([store.settings(), store.meshSettings()]).toEqual([
    { mode: "strict", mtu: 1400 },
    { mode: "strict" },
  ]);
  store.putSetting("mode", "off");
  expect(store.settings()).toEqual({ mode: "strict", mtu: 1400 });
  store.putMeshSettings({});
  expect([store.settings(), store.meshSettings()]).toEqual([{ mode: "off", mtu: 1400 }, {}]);
});
