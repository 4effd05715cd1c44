// The kernel's events about links and routes are decoded to the few facts that the agent
// decides by. ip(8) makes the changes.
import { afterAll, expect, test } from "bun:test";
import { withNetns } from "../../../src/linux/netns.ts";
import type { Route } from "../../../src/net/objects.ts";
import { type KernelChange, routeEvents } from "../../../src/netlink/events.ts";
import { Rtnl } from "../../../src/netlink/rtnl.ts";
import { describeKernel, Namespace, removeNamespaces, run } from "../support/namespaces.ts";

afterAll(removeNamespaces);

const waitSeconds = 10;

describeKernel("the kernel's events", () => {
  /** The events of a new namespace with a link `eth0` while the commands run, until `last` is there. */
  const hear = (commands: readonly string[], last: KernelChange): KernelChange[] => {
    const namespace = new Namespace();
    for (const command of ["link add eth0 type veth peer name far", "link set far up", "link set eth0 up"])
      namespace.ip(command);
    namespace.ip("addr add 192.0.2.1/24 dev eth0");
    namespace.ip("addr add 2001:db8::1/64 dev eth0 nodad");
    using socket = withNetns(namespace.path, () => routeEvents.open());
    socket.setTimeLimit(waitSeconds);
    for (const command of commands) namespace.ip(command);
    const events: KernelChange[] = [];
    const buffer = new Uint8Array(65_536);
    while (!events.some((event) => Bun.deepEquals(event, last)))
      for (const { port: _, ...change } of routeEvents.read(buffer, socket.receive(buffer)))
        events.push(change);
    return events;
  };

  test("whose request it was", () => {
    const namespace = new Namespace();
    namespace.ip("link set lo up");
    using socket = withNetns(namespace.path, () => routeEvents.open());
    using rtnl = Rtnl.open(namespace.path);
    socket.setTimeLimit(waitSeconds);
    const table = 18099;
    for (const family of [4, 6] as const) {
      const dst = family === 4 ? "10.1.0.0/16" : "fd00:1::/64";
      const ours: Route = { family, table, dst, type: "throw", scope: "global", protocol: 118 };
      expect(rtnl.batch().addRoute(ours).send()).toEqual([undefined]);
      namespace.ip(`-${family} route delete throw ${dst} table ${table}`);
      const ports: number[] = [];
      const buffer = new Uint8Array(65_536);
      while (ports.length < 2)
        for (const { about, port } of routeEvents.read(buffer, socket.receive(buffer)))
          if (about === "route") ports.push(port);
      expect(ports[0]).toBe(rtnl.port);
      expect(ports[1]).not.toBe(rtnl.port);
    }
  });

  test("another reverse-path filter, and not that a new link has one", () => {
    const namespace = new Namespace();
    using socket = withNetns(namespace.path, () => routeEvents.open());
    socket.setTimeLimit(waitSeconds);
    const buffer = new Uint8Array(65_536);
    const heard = () => routeEvents.read(buffer, socket.receive(buffer)).map(({ about }) => about);
    namespace.ip("link add eth0 type bridge");
    namespace.ip("link set eth0 up");
    const write = "echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter";
    run(["ip", "netns", "exec", namespace.name, "sh", "-c", write]);
    const before: string[] = [];
    while (!before.includes("reversePathFilter")) before.push(...heard());
    expect(before.filter((about) => about === "reversePathFilter")).toHaveLength(1);
  });

  test.each(["ipv4/ip_forward", "ipv6/conf/all/forwarding"])("forwarding of the host: %s", (path) => {
    const namespace = new Namespace();
    namespace.ip("link add eth0 type bridge");
    using socket = withNetns(namespace.path, () => routeEvents.open());
    socket.setTimeLimit(waitSeconds);
    const write = `read was </proc/sys/net/${path}; echo $((1 - was)) >/proc/sys/net/${path}`;
    run(["ip", "netns", "exec", namespace.name, "sh", "-c", write]);
    const buffer = new Uint8Array(65_536);
    const events: KernelChange[] = [];
    const isOfHost = (event: KernelChange) => event.about === "forwarding" && event.index === undefined;
    while (!events.some(isOfHost)) events.push(...routeEvents.read(buffer, socket.receive(buffer)));
    expect(new Set(events.map(({ about }) => about))).toEqual(new Set(["forwarding"]));
    expect(events.filter(isOfHost)).toHaveLength(1);
  });

  test("forwarding of one interface", () => {
    const namespace = new Namespace();
    namespace.ip("link add eth0 type bridge");
    using socket = withNetns(namespace.path, () => routeEvents.open());
    socket.setTimeLimit(waitSeconds);
    const index = Number(/^(\d+):/.exec(namespace.ip("link show eth0"))?.[1]);
    const path = "/proc/sys/net/ipv4/conf/eth0/forwarding";
    const write = `read was <${path}; echo $((1 - was)) >${path}`;
    run(["ip", "netns", "exec", namespace.name, "sh", "-c", write]);
    const buffer = new Uint8Array(65_536);
    const events: KernelChange[] = [];
    while (events.length === 0) events.push(...routeEvents.read(buffer, socket.receive(buffer)));
    expect(events).toMatchObject([{ about: "forwarding", index }]);
  });

  test("a link with another MTU, down, gone", () => {
    const link = { about: "link", name: "eth0", mtu: 1400 } as const;
    expect(hear(["link set eth0 mtu 1400"], { ...link, up: true })).not.toContainEqual({
      ...link,
      up: false,
    });
    hear(["link set eth0 mtu 1400", "link set eth0 down"], { ...link, up: false });
    const events = hear(["link set eth0 mtu 1400", "link delete eth0"], { ...link, up: false });
    expect(events).toContainEqual({ ...link, up: true });
  });

  test("addresses, and rules with what tells whose they are", () => {
    const last = { about: "rule", priority: 99, table: 18099, protocol: 118 } as const;
    const events = hear(
      [
        "addr add 192.0.2.7/32 dev eth0",
        "-6 addr add 2001:db8::7/128 dev eth0 nodad",
        "rule add priority 99 table 18099 protocol 118",
      ],
      last,
    );
    const index = expect.any(Number);
    expect(events).toContainEqual({ about: "address", ip: "192.0.2.7", index });
    expect(events).toContainEqual({ about: "address", ip: "2001:db8::7", index });
  });

  test("routes with their table and destination, of both families", () => {
    const events = hear(
      [
        "route add default via 192.0.2.254",
        "route add 198.51.100.0/24 via 192.0.2.254 table 18099",
        "route add throw 198.51.100.7/32 table 18099",
        "-6 route add default via 2001:db8::fe",
        "-6 route add 2001:db8:7::/48 dev eth0 table 1000",
        "route delete default",
      ],
      { about: "route", table: 254, dst: "0.0.0.0/0", type: "unicast", isGone: true },
    );
    for (const [table, dst, type] of [
      [254, "0.0.0.0/0", "unicast"],
      [18099, "198.51.100.0/24", "unicast"],
      [18099, "198.51.100.7/32", "throw"],
      [254, "::/0", "unicast"],
      [1000, "2001:db8:7::/48", "unicast"],
    ] as const)
      expect(events).toContainEqual({ about: "route", table, dst, type, isGone: false });
  });
});
