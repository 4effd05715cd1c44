// wg-cni is the pod's main plugin: the tests check the objects that it makes, its result, that traffic
// flows over both families the moment ADD returns, and that nothing is left after DEL.

import { beforeAll, describe, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type CniResult, readConfList } from "../../lab/runtime.ts";
import { http, ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { allVersions, emptyNetns, refuse, succeed } from "../support/plugin.ts";
import {
  addressesOf,
  ip,
  linkNames,
  mainRoutes,
  noRows,
  rows,
  snapshot,
  throwRoutes,
} from "../support/reference.ts";

const gateways = { 4: "169.254.1.1", 6: "fe80::1" } as const;

describeKernel("standalone", () => {
  const lab = withLab("standalone");
  let n1: Node;
  let n2: Node;
  beforeAll(async () => {
    n1 = await lab.node("n1", nodeOptions(1));
    n2 = await lab.node("n2", nodeOptions(2));
  });
  describe("one pod", () => {
    let before: string[];
    let pod: Pod;
    let result: CniResult;
    let hostDev: string;
    const conf = confOf(1);

    beforeAll(async () => {
      before = snapshot(n1);
      pod = n1.pod("one");
      result = (await succeed(n1, "ADD", conf, pod)).json;
      hostDev = result.interfaces?.[0]?.name ?? "";
    });

    test("the result lists exactly the node's end and the container's", () => {
      const [inNode] = ip(n1, "link", "show", "dev", hostDev);
      const [inPod] = ip(pod, "link", "show", "dev", "eth0");
      expect(result).toEqual({
        cniVersion: "1.0.0",
        interfaces: [
          { name: hostDev, mac: inNode.address },
          { name: "eth0", mac: inPod.address, sandbox: pod.netns },
        ],
        ips: [
          { address: "10.244.1.2/32", gateway: gateways[4], interface: 1 },
          { address: "fd00:10:244:1::2/128", gateway: gateways[6], interface: 1 },
        ],
        routes: [
          { dst: "0.0.0.0/0", gw: gateways[4] },
          { dst: "::/0", gw: gateways[6] },
        ],
        dns: {},
      } as CniResult);
      expect(inNode.operstate).toBe("UP");
      expect(inPod.operstate).toBe("UP");
    });

    test("the pod has host addresses, default routes, and permanent neighbours for both gateways", () => {
      expect(linkNames(pod)).toEqual(["eth0", "lo"]);
      expect(addressesOf(pod, "eth0")).toEqual(["10.244.1.2/32", "fd00:10:244:1::2/128"]);
      expect(mainRoutes(pod)).toEqual([
        "169.254.1.1 dev eth0 scope link",
        "default via 169.254.1.1 dev eth0",
        "default via fe80::1 dev eth0 metric 1024 pref medium",
        "fd00:10:244:1::2 dev eth0 proto kernel metric 256 pref medium",
        "fe80::1 dev eth0 metric 1024 pref medium",
      ]);
      const mac = result.interfaces?.[0]?.mac;
      expect(neighbours(pod)).toEqual([`169.254.1.1 eth0 ${mac}`, `fe80::1 eth0 ${mac}`]);
    });

    test("the node has host routes, permanent neighbours and throw routes, and no address of its own on the link", () => {
      expect(addressesOf(n1, hostDev)).toEqual([]);
      expect(ip(n1, "-6", "address", "show", "dev", hostDev).flatMap((link) => link.addr_info ?? [])).toEqual(
        [],
      );
      const added = mainRoutes(n1).filter((route) => !before.some((line) => line.trim() === route));
      expect(added).toEqual([
        `10.244.1.2 dev ${hostDev} scope link`,
        `fd00:10:244:1::2 dev ${hostDev} metric 1024 pref medium`,
      ]);
      const mac = result.interfaces?.[1]?.mac;
      expect(neighbours(n1)).toEqual([`10.244.1.2 ${hostDev} ${mac}`, `fd00:10:244:1::2 ${hostDev} ${mac}`]);
      expect(throwRoutes(n1)).toEqual(["10.244.1.2", "fd00:10:244:1::2"]);
    });

    test("DEL leaves nothing, and may be repeated without a namespace", async () => {
      await succeed(n1, "DEL", conf, pod);
      expect(linkNames(pod)).toEqual(["lo"]);
      expect(snapshot(n1)).toEqual(before);
      expect(rows(n1)).toEqual(noRows);
      await succeed(n1, "DEL", conf, pod);
      await succeed(n1, "DEL", conf, pod, emptyNetns);
      pod.remove();
      await succeed(n1, "DEL", conf, pod);
      expect(snapshot(n1)).toEqual(before);
    });
  });

  test("works at once: no packet waits for duplicate address detection", async () => {
    // As on a real node, and unlike the lab's default.
    n1.script(["echo 1 >/proc/sys/net/ipv6/conf/default/accept_dad"]);
    const pod = n1.pod("dad");
    pod.script(["echo 1 >/proc/sys/net/ipv6/conf/default/accept_dad"]);
    const list = { ...readConfList(`${repository}/conf/10-wg-cni-ranges.conflist`), plugins: [confOf(1)] };
    await n1.runtime.add(list, pod);
    for (const family of [6, 4] as const) {
      expect(await ping(pod, n1.ip(family) as string, { count: 1 })).toMatchObject({ received: 1 });
      expect(await ping(n1, pod.ip(family), { count: 1 })).toMatchObject({ received: 1 });
    }
    const flags = pod.must(["ip", "-6", "address", "show", "dev", "eth0", "scope", "global"]);
    expect(flags).not.toContain("tentative");
    await n1.runtime.del(list, pod);
    n1.script(["echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"]);
  });

  test("pods, nodes and pods of other nodes reach each other over both families", async () => {
    const list = (index: number) => ({ cniVersion: "1.0.0", name: "pods", plugins: [confOf(index)] });
    const [a, b, c] = [n1.pod("a"), n1.pod("b"), n2.pod("c")];
    for (const pod of [a, b]) await n1.runtime.add(list(1), pod);
    await n2.runtime.add(list(2), c);
    await Promise.all([a, b, c].map((pod) => pod.serveHttp(`I am ${pod.name}`)));
    for (const family of [4, 6] as const) {
      for (const [from, to] of [
        [a, b],
        [b, a],
        [a, c],
        [c, a],
        [n1, a],
        [n1, c],
        [n2, b],
      ] as const) {
        expect(await ping(from, to.ip(family))).toMatchObject({ received: 3 });
        expect(await http(from, to.ip(family))).toEqual({ ok: true, text: `I am ${to.name}` });
      }
      for (const node of [n1, n2])
        expect(await ping(a, node.ip(family) as string)).toMatchObject({ received: 3 });
    }
    for (const pod of [a, b]) await n1.runtime.check(list(1), pod);
    for (const pod of [a, b]) await n1.runtime.del(list(1), pod);
    await n2.runtime.del(list(2), c);
    expect(throwRoutes(n1)).toEqual([]);
  });

  test.each(allVersions)("answers in the shape of %s", async (cniVersion) => {
    const pod = n1.pod(`v${cniVersion.replaceAll(".", "")}`);
    const conf = { ...confOf(1), cniVersion, mtu: 1400, dns: { nameservers: ["10.0.0.53"] } };
    const { json } = await succeed(n1, "ADD", conf, pod);
    const [first4, first6] = addressesOf(pod, "eth0");
    expect(json).toMatchObject({ cniVersion, dns: { nameservers: ["10.0.0.53"] } });
    if (cniVersion < "0.3.0") {
      expect(json).toMatchObject({
        ip4: { ip: first4, gateway: gateways[4], routes: [{ dst: "0.0.0.0/0", gw: gateways[4] }] },
        ip6: { ip: first6, gateway: gateways[6], routes: [{ dst: "::/0", gw: gateways[6] }] },
      });
      expect(json).not.toContainAnyKeys(["ips", "interfaces", "routes"]);
    } else {
      const old = cniVersion < "1.0.0";
      expect(json.ips).toEqual([
        { ...(old && { version: "4" }), address: first4 as string, gateway: gateways[4], interface: 1 },
        { ...(old && { version: "6" }), address: first6 as string, gateway: gateways[6], interface: 1 },
      ]);
      const mtus = json.interfaces?.map((link) => (link as { mtu?: number }).mtu);
      expect(mtus).toEqual(cniVersion === "1.1.0" ? [1400, 1400] : [undefined, undefined]);
    }
    expect(ip(pod, "link", "show", "dev", "eth0")[0].mtu).toBe(1400);
    await succeed(n1, "DEL", { ...confOf(1), cniVersion }, pod);
    pod.remove();
    expect(rows(n1)).toEqual(noRows);
  });

  test("forwarding is switched on if it is off", async () => {
    const read = () =>
      n1.script(["cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"]);
    n1.script(["echo 0 >/proc/sys/net/ipv4/ip_forward", "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding"]);
    const pod = n1.pod("forward");
    await succeed(n1, "ADD", confOf(1), pod);
    expect(read()).toBe("1\n1\n");
    await succeed(n1, "DEL", confOf(1), pod);
  });

  test("routes of the configuration go through the node too", async () => {
    const pod = n1.pod("routes");
    const base = confOf(1);
    const conf = {
      ...base,
      ipam: { ...base.ipam, routes: [{ dst: "10.0.0.0/8" }, { dst: "fd00::/8", gw: "fd00::1" }] },
    };
    const { json } = await succeed(n1, "ADD", conf, pod);
    expect(mainRoutes(pod)).toContain("10.0.0.0/8 via 169.254.1.1 dev eth0");
    expect(mainRoutes(pod)).toContain("fd00::/8 via fe80::1 dev eth0 metric 1024 pref medium");
    expect(json.routes).toContainEqual({ dst: "10.0.0.0/8", gw: gateways[4] });
    await succeed(n1, "CHECK", { ...conf, prevResult: json }, pod);
    await succeed(n1, "DEL", conf, pod);
  });

  test("IPv6 is switched on in a namespace that came without it", async () => {
    const pod = n1.pod("ipv4only");
    pod.script(["all", "default", "lo"].map((dev) => `echo 1 >/proc/sys/net/ipv6/conf/${dev}/disable_ipv6`));
    const { json } = await succeed(n1, "ADD", confOf(1), pod);
    const ip6 = (json.ips?.[1]?.address ?? "").split("/")[0] as string;
    expect(await ping(n1, ip6, { count: 1 })).toMatchObject({ received: 1 });
    await succeed(n1, "CHECK", { ...confOf(1), prevResult: json }, pod);
    await succeed(n1, "DEL", confOf(1), pod);
  });

  test("DEL removes by name what a lost store no longer knows", async () => {
    const before = snapshot(n1);
    const pod = n1.pod("lost");
    const { json } = await succeed(n1, "ADD", confOf(1), pod);
    n1.script([`rm -r ${n1.stateDir}`]);
    await succeed(n1, "DEL", { ...confOf(1), prevResult: json }, pod);
    expect(snapshot(n1)).toEqual(before);
  });

  test("an interface name of the longest kind", async () => {
    const pod = n1.pod("long");
    const ifname = "fifteen-letters";
    await succeed(n1, "ADD", confOf(1), pod, { ifname });
    expect(linkNames(pod)).toEqual([ifname, "lo"]);
    await succeed(n1, "DEL", confOf(1), pod, { ifname });
    const { code, msg } = await refuse(n1, "ADD", confOf(1), pod, { ifname: `${ifname}x` });
    expect({ code, msg }).toEqual({ code: 4, msg: "interface name is too long" });
  });

  test("a second interface with the same default route is refused and leaves the first as it is", async () => {
    const pod = n1.pod("two");
    await succeed(n1, "ADD", confOf(1), pod);
    const before = [snapshot(n1), snapshot(pod), rows(n1)];
    expect(await refuse(n1, "ADD", confOf(1), pod, { ifname: "net1" })).toMatchObject({
      code: 103,
      msg: expect.stringContaining("the pod has one of its routes already"),
    });
    expect([snapshot(n1), snapshot(pod), rows(n1)]).toEqual(before);
    await succeed(n1, "DEL", confOf(1), pod);
  });
});

function confOf(index: number) {
  return {
    type: "wg-cni",
    name: "pods",
    cniVersion: "1.0.0",
    ipam: { ranges: [[{ subnet: `10.244.${index}.0/24` }], [{ subnet: `fd00:10:244:${index}::/64` }]] },
  };
}

function nodeOptions(index: number) {
  return {
    ip4: `192.0.2.${index}`,
    ip6: `2001:db8::${index}`,
    podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`],
  };
}

/** Permanent entries: address, device, MAC. */
function neighbours(space: Parameters<typeof ip>[0]): string[] {
  return ip(space, "neighbour", "show", "nud", "permanent")
    .map(({ dst, dev, lladdr }) => `${dst} ${dev} ${lladdr}`)
    .sort();
}
