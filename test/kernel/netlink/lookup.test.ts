// The way to an address, asked of the kernel for many at once: `ip route get
// fibmatch` for each is the witness.
import { afterAll, describe, expect, test } from "bun:test";
import type { RouteLookup } from "../../../src/net/objects.ts";
import { readGateways } from "../../../src/netlink/gateways.ts";
import { Rtnl } from "../../../src/netlink/rtnl.ts";
import { describeKernel, Namespace, removeNamespaces, run } from "../support/namespaces.ts";

afterAll(removeNamespaces);

const mark = 0x100000;

describeKernel("the way to an address", () => {
  const make = (commands: readonly string[]): Namespace => {
    const namespace = new Namespace();
    const links = ["eth0", "eth1"].flatMap((dev, i) => [
      `link add ${dev} type veth peer name far${i}`,
      `link set ${dev} up`,
      `link set far${i} up`,
      `addr add 192.0.${2 + i}.1/24 dev ${dev}`,
      `addr add 2001:db8:${i}::1/64 dev ${dev} nodad`,
    ]);
    for (const command of ["link set lo up", ...links, ...commands]) namespace.ip(command);
    return namespace;
  };
  const lookUp = (namespace: Namespace, ...dsts: string[]): RouteLookup[] => {
    using rtnl = Rtnl.open(namespace.path);
    return rtnl.lookUpRoutes(dsts, mark);
  };
  /** Returns the result of ip(8), in our values. */
  const witness = (namespace: Namespace, dst: string): RouteLookup => {
    const [route] = namespace.json(`route get fibmatch ${dst} mark ${mark}`);
    const hops = (route.nexthops ?? [route]) as { dev: string }[];
    const mtu = route.metrics?.[0]?.mtu as number | undefined;
    return {
      dst,
      type: route.type ?? "unicast",
      devs: [...new Set(hops.map(({ dev }) => dev))],
      ...(route.gateway !== undefined || route.via !== undefined ? { hasGateway: true } : {}),
      ...(route.dst.includes("/") || route.dst === "default" ? {} : { isForOne: true }),
      ...(mtu === undefined ? {} : { mtu }),
    };
  };

  test("by an interface without a carrier", () => {
    const namespace = make(["link set far0 down"]);
    const [dead, live] = lookUp(namespace, "192.0.2.7", "192.0.3.7");
    expect([dead?.isDead, live?.isDead]).toEqual([true, undefined]);
  });

  test("from an address that alone has a way", () => {
    const namespace = make(["rule add from 192.0.2.1 lookup 7", "route add default via 192.0.2.254 table 7"]);
    using rtnl = Rtnl.open(namespace.path);
    const query = { dst: "198.51.100.1", mark };
    const found = rtnl.lookUpPackets([query, { ...query, from: "192.0.2.1" }]);
    expect(found.map(({ error }) => error)).toEqual(["ENETUNREACH", undefined]);
  });

  test.each<[string, ...string[]]>([
    ["on the link", "192.0.2.7", "2001:db8::7"],
    ["by a gateway, with an mtu", "198.18.0.1", "2001:db8:100::1"],
    ["by a gateway, with a locked mtu", "198.19.0.1", "2001:db8:101::1"],
    ["by two gateways", "198.20.0.1", "2001:db8:102::1"],
    ["by a nexthop object", "198.21.0.1", "2001:db8:103::1"],
    ["the node's own", "192.0.2.1", "2001:db8::1"],
  ])("%s", (_, ...dsts) => {
    const namespace = make([
      "route add 198.18.0.0/24 via 192.0.2.254 mtu 1400",
      "-6 route add 2001:db8:100::/64 via 2001:db8::fe mtu 1400",
      "route add 198.19.0.0/24 via 192.0.3.254 mtu lock 1300",
      "-6 route add 2001:db8:101::/64 via 2001:db8:1::fe mtu lock 1300",
      "route add 198.20.0.0/24 mtu 1350 nexthop via 192.0.2.254 weight 3 nexthop via 192.0.3.254",
      "-6 route add 2001:db8:102::/64 mtu 1350 nexthop via 2001:db8::fe nexthop via 2001:db8:1::fe",
      "nexthop add id 4 via 192.0.3.254 dev eth1",
      "nexthop add id 6 via 2001:db8:1::fe dev eth1",
      "route add 198.21.0.0/24 nhid 4",
      "-6 route add 2001:db8:103::/64 nhid 6",
    ]);
    expect(lookUp(namespace, ...dsts)).toEqual(dsts.map((dst) => witness(namespace, dst)));
  });

  test("of several next hops all are named, and the mtu is the route's", () => {
    const namespace = make([
      "route add 198.20.0.0/24 mtu 1350 nexthop via 192.0.2.254 nexthop via 192.0.3.254",
      "-6 route add 2001:db8:102::/64 mtu 1340 nexthop via 2001:db8::fe nexthop via 2001:db8:1::fe",
    ]);
    const [four, six] = lookUp(namespace, "198.20.0.1", "2001:db8:102::1");
    expect(four).toEqual({ dst: "198.20.0.1", type: "unicast", devs: ["eth0", "eth1"], mtu: 1350 });
    expect(six).toMatchObject({ type: "unicast", mtu: 1340 });
    expect(six?.devs.toSorted()).toEqual(["eth0", "eth1"]);
  });

  test("if there is no route, the kernel's reason", () => {
    const namespace = make([
      "route add unreachable 198.18.0.0/24",
      "route add prohibit 198.19.0.0/24",
      "route add blackhole 198.20.0.0/24",
      "-6 route add unreachable 2001:db8:100::/64",
      "-6 route add prohibit 2001:db8:101::/64",
    ]);
    const reasons = {
      "203.0.113.1": "ENETUNREACH",
      "198.18.0.1": "EHOSTUNREACH",
      "198.19.0.1": "EACCES",
      "198.20.0.1": "EINVAL",
      "2001:db8:200::1": "ENETUNREACH",
      "2001:db8:100::1": "EHOSTUNREACH",
      "2001:db8:101::1": "EACCES",
    };
    const expected = Object.entries(reasons).map(([dst, error]) => ({ dst, devs: [], error }));
    expect(lookUp(namespace, ...Object.keys(reasons))).toEqual(expected);
    for (const dst of Object.keys(reasons))
      expect(() => namespace.ip(`route get fibmatch ${dst} mark ${mark}`)).toThrow();
  });

  test("with the mark, rules that skip marked packets are skipped", () => {
    const rule = `rule add priority 50 not fwmark ${mark}/${mark} lookup 77`;
    const namespace = make([
      ...[rule, `-6 ${rule}`],
      "route add 198.18.0.0/24 dev eth1 table 77",
      "-6 route add 2001:db8:100::/64 dev eth1 table 77",
      "route add 198.18.0.0/24 via 192.0.2.254",
      "-6 route add 2001:db8:100::/64 via 2001:db8::fe",
    ]);
    for (const dst of ["198.18.0.1", "2001:db8:100::1"]) {
      expect(lookUp(namespace, dst)).toMatchObject([{ devs: ["eth0"] }]);
      expect(namespace.json(`route get fibmatch ${dst}`)).toMatchObject([{ dev: "eth1" }]);
    }
  });

  test("what ICMP has told of the path does not count", () => {
    const namespace = make(["route add 198.18.0.0/24 via 192.0.2.254"]);
    const router = new Namespace();
    namespace.ip(`link set far0 netns ${router.name}`);
    for (const command of [
      "link set far0 up",
      "addr add 192.0.2.254/24 dev far0",
      "link add narrow mtu 1300 type bridge",
      "addr add 198.18.0.254/24 dev narrow",
      "link set narrow up",
    ])
      router.ip(command);
    const inside = (space: Namespace, script: string) =>
      run(["ip", "netns", "exec", space.name, "sh", "-c", script]);
    inside(router, "echo 1 >/proc/sys/net/ipv4/ip_forward");
    inside(namespace, "ping -c 1 -W 5 -M do -s 1400 198.18.0.1 || true");
    expect(namespace.json("route get 198.18.0.1")).toMatchObject([{ metrics: [{ mtu: 1300 }] }]);
    expect(lookUp(namespace, "198.18.0.1")).toEqual([
      { dst: "198.18.0.1", type: "unicast", devs: ["eth0"], hasGateway: true },
    ]);
  });

  describe("of a packet that arrives", () => {
    const src = "192.0.2.7";
    const arriving = (namespace: Namespace, dst: string, dev = "eth0", from = src) => {
      using rtnl = Rtnl.open(namespace.path);
      return rtnl.lookUpPackets([{ dst, mark: 0, arrival: { src: from, dev } }])[0];
    };
    const forward = (namespace: Namespace, on: boolean) =>
      run([
        "ip",
        "netns",
        "exec",
        namespace.name,
        "sh",
        "-c",
        `echo ${on ? 1 : 0} >/proc/sys/net/ipv4/ip_forward`,
      ]);
    const makeRouter = () => {
      const namespace = make(["route add 198.18.0.0/24 dev eth1"]);
      forward(namespace, true);
      return namespace;
    };

    test("the route by which it is forwarded, as ip(8) says", () => {
      const namespace = makeRouter();
      expect(arriving(namespace, "198.18.0.1")).toEqual({
        dst: "198.18.0.1",
        type: "unicast",
        devs: ["eth1"],
      });
      expect(namespace.json(`route get fibmatch 198.18.0.1 from ${src} iif eth0`)).toMatchObject([
        { dev: "eth1" },
      ]);
    });

    test("the route of a rule for its source and interface", () => {
      const namespace = makeRouter();
      namespace.ip(`rule add priority 50 from ${src} iif eth0 lookup 77`);
      namespace.ip("route add prohibit 198.18.0.0/24 table 77");
      expect(arriving(namespace, "198.18.0.1")?.error).toBe("EACCES");
      expect(arriving(namespace, "198.18.0.1", "eth0", "192.0.2.8")?.devs).toEqual(["eth1"]);
    });

    test("no way if forwarding is off", () => {
      const namespace = makeRouter();
      forward(namespace, false);
      expect(arriving(namespace, "198.18.0.1")?.error).toBe("EHOSTUNREACH");
    });

    test("no way if the reverse-path filter drops it", () => {
      const namespace = makeRouter();
      run([
        "ip",
        "netns",
        "exec",
        namespace.name,
        "sh",
        "-c",
        "echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter",
      ]);
      const { error } = arriving(namespace, "198.18.0.1", "eth0", "192.0.3.9") ?? {};
      // Since Linux 6.14 the kernel says EINVAL for every packet that it would drop.
      expect(["EXDEV", "EINVAL"]).toContain(error as string);
    });

    test("no way by an interface that is not there", () => {
      expect(arriving(makeRouter(), "198.18.0.1", "gone0")?.error).toBe("ENODEV");
    });
  });

  test("thousands at once, in order, some of them without a way", () => {
    const namespace = make([
      "route add 198.18.0.0/16 via 192.0.2.254",
      "route add 198.18.7.0/24 dev eth1 mtu 1280",
    ]);
    const dsts = Array.from({ length: 3000 }, (_, i) =>
      i % 10 === 9 ? `203.0.113.${i % 250}` : `198.18.${i >> 8}.${i & 255}`,
    );
    const found = lookUp(namespace, ...dsts);
    expect(found.map(({ dst }) => dst)).toEqual(dsts);
    for (const [i, { dst, devs, mtu, error }] of found.entries())
      expect({ dst, devs, mtu, error }).toEqual(
        i % 10 === 9
          ? { dst, devs: [], mtu: undefined, error: "ENETUNREACH" }
          : dst.startsWith("198.18.7.")
            ? { dst, devs: ["eth1"], mtu: 1280, error: undefined }
            : { dst, devs: ["eth0"], mtu: undefined, error: undefined },
      );
  });

  test("nothing is asked for an empty list, and the conversation goes on afterwards", () => {
    const namespace = make([]);
    using rtnl = Rtnl.open(namespace.path);
    expect(rtnl.lookUpRoutes([], mark)).toEqual([]);
    expect(rtnl.lookUpRoutes(["192.0.2.9", "203.0.113.1"], mark)).toMatchObject([
      { devs: ["eth0"] },
      { devs: [] },
    ]);
    expect(rtnl.findLink("eth0")?.name).toBe("eth0");
    expect(rtnl.writes).toBe(0);
  });

  test("the gateways of a table are all next hops, of several and of nexthop objects too", () => {
    const namespace = make([
      "route add default nexthop via 192.0.2.254 nexthop via 192.0.3.254",
      "-6 route add default nexthop via 2001:db8::fe nexthop via 2001:db8:1::fe",
      "route add 198.18.0.0/24 via inet6 2001:db8::fe dev eth0",
      "nexthop add id 4 via 192.0.3.253 dev eth1",
      "route add 198.21.0.0/24 nhid 4",
      "route add 198.22.0.0/24 via 192.0.2.253 table 100",
    ]);
    using rtnl = Rtnl.open(namespace.path);
    const gateways = (family: 4 | 6, table = 254) =>
      readGateways(rtnl, family, table)
        .map(({ dst, dev, via }) => `${dst} ${via} ${dev}`)
        .sort();
    expect(gateways(4)).toEqual([
      "0.0.0.0/0 192.0.2.254 eth0",
      "0.0.0.0/0 192.0.3.254 eth1",
      "198.18.0.0/24 2001:db8::fe eth0",
      "198.21.0.0/24 192.0.3.253 eth1",
    ]);
    expect(gateways(6)).toEqual(["::/0 2001:db8:1::fe eth1", "::/0 2001:db8::fe eth0"]);
    expect(gateways(4, 100)).toEqual(["198.22.0.0/24 192.0.2.253 eth0"]);
  });
});
