// The netlink layer against the running kernel, with `ip -j` as the witness of
// what was changed and what is read.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { closeFd } from "../../../src/linux/file.ts";
import { findNetnsIdentity, netnsCookie, openNetns, ownNetns, withNetns } from "../../../src/linux/netns.ts";
import type { Address, Neighbour, Route, Rule } from "../../../src/net/objects.ts";
import { Rtnl } from "../../../src/netlink/rtnl.ts";
import { cpuMs } from "../../lab/cpu-time.ts";
import { describeKernel, Namespace, removeNamespaces } from "../support/namespaces.ts";

const table = 18099;
const mark = { mark: 0x100000, mask: 0x100000 };

afterAll(removeNamespaces);

describeKernel("namespaces", () => {
  test("a socket opened inside stays there, and the thread comes back", () => {
    const namespace = new Namespace();
    const before = findNetnsIdentity(ownNetns);
    const inside = withNetns(namespace.path, () => [findNetnsIdentity(ownNetns), netnsCookie()]);
    expect(inside[0]).toBe(findNetnsIdentity(namespace.path));
    expect(inside[0]).not.toBe(before);
    expect(inside[1]).not.toBe(netnsCookie());
    expect(findNetnsIdentity(ownNetns)).toBe(before);
    using rtnl = Rtnl.open(namespace.path);
    expect(rtnl.links().map((link) => link.name)).toEqual(["lo"]);
  });

  test("the thread comes back when what runs inside fails", () => {
    const namespace = new Namespace();
    const before = findNetnsIdentity(ownNetns);
    const failing = () =>
      withNetns(namespace.path, () => {
        throw new Error("as planned");
      });
    expect(failing).toThrow("as planned");
    expect(findNetnsIdentity(ownNetns)).toBe(before);
    expect(() => withNetns("/etc/passwd", () => 0)).toThrow(
      "Cannot enter network namespace /etc/passwd: EINVAL",
    );
  });
});

describeKernel("links", () => {
  test("a veth pair with its other end in another namespace", () => {
    const [here, there] = [new Namespace(), new Namespace()];
    using rtnl = Rtnl.open(here.path);
    const netnsFd = openNetns(there.path);
    const outcomes = rtnl
      .batch()
      .addLink({
        ...{ kind: "veth", name: "v0", mtu: 1400, mac: "02:00:00:00:00:01", up: true, addrGenModeNone: true },
        peer: { name: "eth0", mtu: 1380, mac: "02:00:00:00:00:02", netnsFd },
      })
      .send();
    closeFd(netnsFd);
    expect(outcomes).toEqual([undefined]);
    expect(here.json("-d link show v0")[0]).toMatchObject({
      ...{
        mtu: 1400,
        address: "02:00:00:00:00:01",
        inet6_addr_gen_mode: "none",
        linkinfo: { info_kind: "veth" },
      },
    });
    expect(there.json("link show eth0")[0]).toMatchObject({ mtu: 1380, address: "02:00:00:00:00:02" });
    there.ip("link set eth0 up");
    expect(rtnl.findLink("v0")).toMatchObject({
      kind: "veth",
      mtu: 1400,
      up: true,
      linkIndex: 2,
      linkNetnsId: 0,
    });
    expect(rtnl.indexOf("v0")).toBe(here.json("link show v0")[0].ifindex);
    expect(rtnl.findLink("none")).toBeUndefined();
    expect(() => rtnl.indexOf("none")).toThrow("Cannot find link none: ENODEV (No such device)");
    // Without the mode the kernel would have made fe80::….
    expect(rtnl.addresses("v0")).toEqual([]);
  });

  test("changes, and removal", () => {
    const namespace = new Namespace();
    using rtnl = Rtnl.open(namespace.path);
    const make = rtnl.batch().addLink({ kind: "veth", name: "v0", peer: { name: "v1" } });
    expect(
      make.changeLink("v0", { mtu: 1300, mac: "02:00:00:00:00:05" }).changeLink("v0", { up: true }).send(),
    ).toEqual(Array(3).fill(undefined));
    expect(namespace.json("link show v0")[0]).toMatchObject({ mtu: 1300, address: "02:00:00:00:00:05" });
    expect(namespace.json("link show v0")[0].flags).toContain("UP");
    expect(rtnl.batch().changeLink("v0", { up: false }).send()).toEqual([undefined]);
    expect(namespace.json("link show v0")[0].flags).not.toContain("UP");
    const outcomes = rtnl.batch().deleteLink("v0").deleteLink("v0").send();
    expect(outcomes.map((outcome) => outcome?.code)).toEqual([undefined, "ENODEV"]);
    expect(rtnl.links().map((link) => link.name)).toEqual(["lo"]);
  });

  test("a kind that the kernel does not have is refused in a sentence", () => {
    using rtnl = Rtnl.open(new Namespace().path);
    const [outcome] = rtnl.batch().addLink({ kind: "wireguard", name: "wg0" }).send();
    // If the kernel has WireGuard, this succeeds, and wireguard.test.ts has more about it.
    if (outcome !== undefined)
      expect(outcome.message).toBe("Cannot add wireguard link wg0: EOPNOTSUPP (Unknown device type)");
  });
});

describeKernel("addresses, routes, rules, neighbours", () => {
  let namespace: Namespace;
  let rtnl: Rtnl;

  beforeAll(() => {
    namespace = new Namespace();
    namespace.ip("link set lo up");
    namespace.ip("link add v0 type veth peer name v1");
    namespace.ip("link set v0 addrgenmode none up");
    namespace.ip("link set v1 addrgenmode none up");
    namespace.ip("addr add 10.0.0.1/24 dev v0");
    namespace.ip("addr add fd00::1/64 dev v0 nodad");
    rtnl = Rtnl.open(namespace.path);
  });

  beforeEach(() => {
    // Fails if there is no such table yet.
    for (const family of ["-4", "-6"])
      Bun.spawnSync(["ip", "-n", namespace.name, family, "route", "flush", "table", String(table)]);
  });

  test("addresses, both families: added, read, refused twice, deleted", () => {
    const wanted: Address[] = [
      { dev: "v1", ip: "10.1.0.1", length: 32, scope: "link", noPrefixRoute: true, noDad: false },
      { dev: "v1", ip: "fd01::1", length: 128, scope: "global", noPrefixRoute: true, noDad: true },
      { dev: "v1", ip: "fd01:0:0:1::1", length: 64, scope: "global", noPrefixRoute: false, noDad: true },
    ];
    const batch = rtnl.batch();
    for (const address of wanted) batch.addAddress(address);
    expect(batch.send()).toEqual([undefined, undefined, undefined]);
    expect(rtnl.addresses("v1").sort(byText)).toEqual([...wanted].sort(byText));
    expect(rtnl.addresses().filter((address) => address.dev === "v1").length).toBe(3);
    const shown = namespace.json("addr show v1")[0].addr_info;
    expect(shown.map((info: { local: string }) => info.local).sort()).toEqual(
      wanted.map(({ ip }) => ip).sort(),
    );
    expect(shown.find((info: { local: string }) => info.local === "fd01::1")).toMatchObject({ nodad: true });

    const again = rtnl.batch();
    for (const address of wanted) again.addAddress(address);
    expect(again.send().map((outcome) => outcome?.code)).toEqual(["EEXIST", "EEXIST", "EEXIST"]);
    const away = rtnl.batch();
    for (const address of wanted) away.deleteAddress(address);
    expect(away.send()).toEqual([undefined, undefined, undefined]);
    expect(rtnl.addresses("v1")).toEqual([]);
  });

  const routes: Route[] = [
    {
      family: 4,
      table,
      type: "unicast",
      dst: "10.2.0.0/16",
      dev: "v0",
      src: "10.0.0.1",
      scope: "link",
      protocol: 118,
    },
    { family: 4, table, type: "throw", dst: "10.3.0.0/16", scope: "global", protocol: 118 },
    { family: 4, table, type: "prohibit", dst: "10.4.0.0/16", scope: "global", protocol: 118, priority: 7 },
    {
      ...{ family: 4, table, type: "unicast", dst: "0.0.0.0/0", dev: "v0", via: "169.254.1.1" },
      ...{ scope: "global", protocol: 118, onlink: true, metrics: { mtu: 1340, advmss: 1300 } },
    },
    {
      family: 4,
      table,
      type: "unicast",
      dst: "10.5.0.0/16",
      dev: "v0",
      via: "fd00::2",
      scope: "global",
      protocol: 118,
    },
    {
      ...{ family: 6, table, type: "unicast", dst: "fd02::/48", dev: "v0", scope: "global", protocol: 118 },
      ...{ priority: 1024, metrics: { mtu: 1340 } },
    },
    { family: 6, table, type: "throw", dst: "fd03::/64", scope: "global", protocol: 118, priority: 1024 },
    { family: 6, table, type: "prohibit", dst: "fd04::/64", scope: "global", protocol: 118, priority: 1024 },
    {
      ...{ family: 6, table, type: "unicast", dst: "::/0", dev: "v0", via: "fd00::2" },
      ...{ scope: "global", protocol: 118, priority: 1024 },
    },
  ] as Route[];

  const read = () =>
    [...rtnl.routes({ family: 4, table }), ...rtnl.routes({ family: 6, table })].sort(byText);

  test("routes are read as they were asked for, and deleted as they are read", () => {
    const batch = rtnl.batch();
    for (const route of routes) batch.addRoute(route);
    expect(batch.send()).toEqual(Array(routes.length).fill(undefined));
    expect(read()).toEqual([...routes].sort(byText));
    expect(namespace.json(`route show table ${table}`).length).toBe(5);
    expect(namespace.json(`-6 route show table ${table}`).length).toBe(4);
    const away = rtnl.batch();
    for (const route of read()) away.deleteRoute(route);
    expect(away.send()).toEqual(Array(routes.length).fill(undefined));
    expect(read()).toEqual([]);
  });

  test("replacing changes a route's type, in one step and both families", () => {
    for (const [from, to] of [
      [routes[0], { ...routes[1], dst: "10.2.0.0/16" }],
      [routes[5], { ...routes[6], dst: "fd02::/48" }],
    ] as [Route, Route][]) {
      expect(rtnl.batch().replaceRoute(from).replaceRoute(to).send()).toEqual([undefined, undefined]);
      expect(rtnl.routes({ family: from.family, table })).toEqual([to]);
      expect(rtnl.batch().replaceRoute(from).send()).toEqual([undefined]);
      expect(rtnl.routes({ family: from.family, table })).toEqual([from]);
    }
  });

  test("tables are told apart; a missing one is empty", () => {
    expect(rtnl.routes({ family: 4, table: 4711 })).toEqual([]);
    expect(rtnl.routes({ family: 6, table: 4711 })).toEqual([]);
    const all = rtnl.routes({ family: 4 });
    expect(new Set(all.map((route) => route.table))).toEqual(new Set([254, 255]));
    expect(rtnl.routes({ family: 4, table: 254 })).toEqual(all.filter((route) => route.table === 254));
    for (const family of [4, 6] as const) {
      const ofFamily = rtnl.routes({ family });
      const locals = ofFamily.filter(({ type }) => type === "local");
      expect(locals.length).toBeGreaterThan(0);
      expect(rtnl.routes({ family, type: "local" })).toEqual(locals);
      expect(rtnl.routes({ family, dev: "lo" })).toEqual(ofFamily.filter(({ dev }) => dev === "lo"));
      expect(rtnl.routes({ family, dev: "nowhere" })).toEqual([]);
    }
  });

  test("rules, both families: read as they were asked for", () => {
    const wanted: Rule[] = [4, 6].flatMap((family) => [
      { family, priority: 97, action: "goto", target: 100, invert: false, fwmark: mark, protocol: 118 },
      { family, priority: 98, action: "lookup", table: 18098, invert: true, iif: "lo", protocol: 118 },
      { family, priority: 99, action: "lookup", table, invert: true, fwmark: mark, protocol: 118 },
      { family, priority: 100, action: "nop", invert: false, protocol: 118 },
      {
        ...{ family, priority: 101, action: "prohibit", invert: false, protocol: 118, oif: "v0" },
        ...(family === 4 ? { src: "10.0.0.0/8", dst: "10.1.0.0/16" } : { src: "fd00::/8", dst: "fd01::/16" }),
      },
    ]) as Rule[];
    const batch = rtnl.batch();
    for (const rule of wanted) batch.addRule(rule);
    expect(batch.send()).toEqual(Array(10).fill(undefined));
    const ours = () => [...rtnl.rules(4), ...rtnl.rules(6)].filter((rule) => rule.protocol === 118);
    expect(ours()).toEqual(wanted);
    expect(namespace.ip("rule show")).toContain(
      "99:\tnot from all fwmark 0x100000/0x100000 lookup 18099 proto 118",
    );
    const again = rtnl
      .batch()
      .addRule(wanted[2] as Rule)
      .send();
    expect(again[0]?.message).toBe(
      "Cannot add IPv4 rule 99: not fwmark 0x100000/0x100000 lookup 18099: EEXIST (File exists)",
    );
    const away = rtnl.batch();
    for (const rule of wanted) away.deleteRule(rule);
    expect(away.send()).toEqual(Array(10).fill(undefined));
    expect(ours()).toEqual([]);
  });

  test("neighbours: made, changed, deleted", () => {
    const neighbours: Neighbour[] = [
      { dev: "v0", ip: "169.254.1.1", mac: "02:00:00:00:00:09", permanent: true },
      { dev: "v0", ip: "fe80::1", mac: "02:00:00:00:00:0a", permanent: true },
    ];
    const batch = rtnl.batch();
    for (const neighbour of neighbours) batch.replaceNeighbour(neighbour);
    expect(batch.send()).toEqual([undefined, undefined]);
    const permanent = () => rtnl.neighbours("v0").filter((neighbour) => neighbour.permanent);
    expect(permanent().sort(byText)).toEqual([...neighbours].sort(byText));
    const moved = { ...(neighbours[0] as Neighbour), mac: "02:00:00:00:00:0b" };
    expect(rtnl.batch().replaceNeighbour(moved).send()).toEqual([undefined]);
    expect(namespace.json("neigh show 169.254.1.1 dev v0")[0]).toMatchObject({
      lladdr: moved.mac,
      state: ["PERMANENT"],
    });
    expect(rtnl.batch().deleteNeighbour(moved).send()).toEqual([undefined]);
    expect(permanent()).toEqual([neighbours[1] as Neighbour]);
    expect(rtnl.neighbours("v1").filter((neighbour) => neighbour.permanent)).toEqual([]);
  });

  test("each request has its own outcome, in order, and the rest are done", () => {
    const writes = rtnl.writes;
    const outcomes = rtnl
      .batch()
      .addRoute({ ...(routes[0] as Route), dst: "10.6.0.0/16" })
      .addRoute({
        family: 4,
        table,
        type: "unicast",
        dst: "10.9.0.0/16",
        via: "10.77.0.1",
        scope: "global",
        protocol: 118,
      })
      .addRoute({ ...(routes[0] as Route), dst: "10.7.0.0/16", dev: "none" })
      .addRoute({ ...(routes[0] as Route), dst: "10.8.0.0/16" })
      .send();
    expect(outcomes.map((outcome) => outcome?.message)).toEqual([
      undefined,
      "Cannot add route 10.9.0.0/16 via 10.77.0.1 table 18099: ENETUNREACH (Nexthop has invalid gateway)",
      "Cannot add route 10.7.0.0/16 dev none src 10.0.0.1 table 18099: ENODEV (no interface is named none)",
      undefined,
    ]);
    expect(read().map((route) => route.dst)).toEqual(["10.6.0.0/16", "10.8.0.0/16"]);
    expect(rtnl.writes - writes).toBe(2);
  });

  test("a link made, removed and made again in one batch is the last one afterwards", () => {
    const veth = { kind: "veth", name: "v2", peer: { name: "v3" } } as const;
    const address = {
      dev: "v2",
      ip: "10.4.0.1",
      length: 32,
      scope: "global",
      noPrefixRoute: true,
      noDad: false,
    } as const;
    const outcomes = rtnl
      .batch()
      .addLink(veth)
      .addAddress(address)
      .deleteLink("v2")
      .addLink(veth)
      .addAddress(address)
      .send();
    expect(outcomes).toEqual(Array(5).fill(undefined));
    expect(rtnl.addresses("v2")).toEqual([address]);
    // The same from outside, so that the remembered index is stale: once refused, then found again.
    expect(rtnl.indexOf("v2")).toBeGreaterThan(0);
    namespace.ip("link del v2");
    namespace.ip("link add v2 type veth peer name v3");
    expect(rtnl.batch().addAddress(address).send()[0]?.code).toBe("ENODEV");
    expect(rtnl.batch().addAddress(address).send()).toEqual([undefined]);
    namespace.ip("link del v2");
  });

  test("reading changes nothing", () => {
    const before = namespace.picture();
    const writes = rtnl.writes;
    rtnl.links();
    rtnl.addresses();
    for (const family of [4, 6] as const) {
      rtnl.routes({ family });
      rtnl.rules(family);
    }
    rtnl.neighbours("v0");
    expect(rtnl.writes).toBe(writes);
    expect(namespace.picture()).toBe(before);
  });

  test("5,000 routes are added in batches, and read in linear time", () => {
    const many = Array.from({ length: 5000 }, (_, i): Route => {
      const rest = { table, type: "unicast", dev: "v0", protocol: 118 } as const;
      return i % 2 === 0
        ? { ...rest, family: 4, dst: `10.${i >> 8}.${i & 255}.0/24`, scope: "link" }
        : { ...rest, family: 6, dst: `fd00:1:0:${i.toString(16)}::/64`, scope: "global", priority: 1024 };
    });
    const batch = rtnl.batch();
    for (const route of many) batch.addRoute(route);
    expect(batch.send().filter((outcome) => outcome !== undefined)).toEqual([]);
    let found: readonly Route[] = [];
    const ms = cpuMs(() => {
      found = read();
    });
    // 10 to 20 ms on an idle machine; quadratic work would take many seconds even there.
    expect(ms).toBeLessThan(2000);
    expect(found).toEqual(many.sort(byText));
  });
});

function byText(a: unknown, b: unknown): number {
  const [x, y] = [JSON.stringify(a), JSON.stringify(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
