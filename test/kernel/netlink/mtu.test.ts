// Lowering the MTU of a route that another plugin made: only that changes, with
// `ip -j` as the witness.
import { afterAll, expect, test } from "bun:test";
import type { Route } from "../../../src/net/objects.ts";
import { replaceRouteMtus } from "../../../src/netlink/mtu.ts";
import { Rtnl } from "../../../src/netlink/rtnl.ts";
import { describeKernel, Namespace, removeNamespaces } from "../support/namespaces.ts";

afterAll(removeNamespaces);

describeKernel("the MTU of another process's route", () => {
  const change = (
    setUp: string[],
    show: string,
    mtu: number | undefined,
  ): [before: string, after: string] => {
    const namespace = new Namespace();
    namespace.ip("link add eth0 type veth peer name far");
    namespace.ip("link set eth0 addrgenmode none up");
    namespace.ip("link set far addrgenmode none up");
    namespace.ip("addr add 10.0.0.9/24 dev eth0");
    namespace.ip("addr add fd00::9/64 dev eth0 nodad");
    for (const command of setUp) namespace.ip(command);
    const before = namespace.ip(show);
    using rtnl = Rtnl.open(namespace.path);
    const family = show.startsWith("-6") ? 6 : 4;
    const dst = family === 6 ? "::/0" : "0.0.0.0/0";
    const route = rtnl.routes({ family, table: 254 }).find((candidate) => candidate.dst === dst);
    expect(replaceRouteMtus(rtnl, [{ route: route as Route, mtu }])).toEqual([undefined]);
    return [before, namespace.ip(show)];
  };
  const tidy = (text: string) =>
    text
      .replace(/ expires \d+sec/, " expires Nsec")
      .replace(/\s+/g, " ")
      .trim();

  test.each([
    ["default via 10.0.0.1 dev eth0 proto bird src 10.0.0.9 metric 7 realm 5", "route show default"],
    ["default via 10.0.0.1 dev eth0 initcwnd 20 hoplimit 9 quickack 1", "route show default"],
    ["default dev eth0 scope link", "route show default"],
    ["default via 169.254.1.1 dev eth0 onlink", "route show default"],
    ["default nexthop via 10.0.0.1 dev eth0 weight 2 nexthop via 10.0.0.2 dev eth0", "route show default"],
    ["default via fd00::1 dev eth0 pref high metric 99 proto ra expires 600", "-6 route show default"],
    ["default nexthop via fd00::1 dev eth0 nexthop via fd00::2 dev eth0", "-6 route show default"],
  ])("%s", (route, show) => {
    const add = `${show.startsWith("-6") ? "-6 " : ""}route add ${route}`;
    const [before, after] = change([add], show, 1340);
    expect(tidy(before)).not.toContain("mtu");
    expect(tidy(after)).toContain("mtu 1340");
    expect(tidy(after).replace(/ mtu 1340/, "")).toBe(tidy(before));
  });

  test("through a nexthop object", () => {
    const setUp = ["nexthop add id 7 via 10.0.0.1 dev eth0", "route add default nhid 7"];
    const [before, after] = change(setUp, "route show default", 1340);
    expect(tidy(after)).toBe(`${tidy(before)} mtu 1340`);
  });

  test("removed again", () => {
    const [before, after] = change(
      ["route add default via 10.0.0.1 dev eth0 mtu 1340 advmss 1200"],
      "route show default",
      undefined,
    );
    expect(tidy(after)).toBe(tidy(before).replace(" mtu 1340", ""));
  });

  test("a route that is not there is an error", () => {
    using rtnl = Rtnl.open(new Namespace().path);
    const route: Route = {
      family: 4,
      table: 254,
      type: "unicast",
      dst: "10.0.0.0/8",
      scope: "link",
      protocol: 3,
    };
    const [error] = replaceRouteMtus(rtnl, [{ route, mtu: 1340 }]);
    expect(error?.message).toStartWith("Cannot change the MTU of route 10.0.0.0/8: ESRCH");
  });

  test("if one of many routes is not there, the rest are changed", () => {
    const namespace = new Namespace();
    for (const command of ["link add eth0 type veth peer name far", "link set eth0 up", "link set far up"])
      namespace.ip(command);
    namespace.ip("addr add 10.0.0.9/24 dev eth0");
    for (const dst of ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"])
      namespace.ip(`route add ${dst} via 10.0.0.1`);
    using rtnl = Rtnl.open(namespace.path);
    const routes = rtnl.routes({ family: 4, table: 254, dev: "eth0" }).filter(({ via }) => via !== undefined);
    namespace.ip("route del 10.2.0.0/16");
    const outcomes = replaceRouteMtus(
      rtnl,
      routes.map((route) => ({ route, mtu: 1340 })),
    );
    expect(outcomes.map((error) => error?.code)).toEqual([undefined, "ESRCH", undefined]);
    expect(namespace.ip("route show").match(/mtu 1340/g)).toHaveLength(2);
  });
});
