// The embedded IPAM through the real plugin: which addresses pods get, what can
// be asked for, what happens when there are none left, and that no failure
// loses one.

import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { joinMesh, leaveMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, refuse, succeed } from "../support/plugin.ts";
import { addressesOf, ip, linkNames, noRows, rows, snapshot } from "../support/reference.ts";

const podCidrs = ["10.244.1.0/24", "fd00:10:244:1::/64"];

describeKernel("embedded IPAM", () => {
  const lab = withLab("ipam");
  let node: Node;
  let before: string[];
  let count = 0;
  const made: Pod[] = [];
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs });
    before = snapshot(node);
  });
  const conf = (ipam: object, more: object = {}) => ({
    type: "wg-cni",
    name: "pods",
    cniVersion: "1.0.0",
    ipam,
    ...more,
  });
  const ranges = (...subnets: string[]) => ({ ranges: subnets.map((subnet) => [{ subnet }]) });
  const newPod = () => {
    const pod = node.pod(`p${++count}`);
    made.push(pod);
    return pod;
  };
  // The tests after one that failed find the node as it was.
  afterEach(async () => {
    for (const pod of made.splice(0)) await call(node, "DEL", conf(ranges("10.9.0.0/29")), pod);
  });

  async function add(pod: Pod, ...args: [unknown, object?]): Promise<string[]> {
    const { json } = await succeed(node, "ADD", args[0], pod, args[1]);
    return (json.ips ?? []).map(({ address }) => address.split("/")[0] as string);
  }

  function expectNothingLeft(): void {
    expect(snapshot(node)).toEqual(before);
    expect(rows(node)).toEqual(noRows);
  }

  test("gives all but network, gateway and broadcast, then says that it is exhausted", async () => {
    const small = conf(ranges("10.9.0.0/29", "fd00:9::/125"));
    const pods: Pod[] = [];
    const given: string[][] = [];
    for (let i = 0; i < 5; i++) {
      const pod = newPod();
      pods.push(pod);
      given.push(await add(pod, small));
    }
    expect(given.map(([ip4]) => ip4)).toEqual(["10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"]);
    expect(given.map(([, ip6]) => ip6)).toEqual([2, 3, 4, 5, 6].map((i) => `fd00:9::${i}`));
    const [state, stored] = [snapshot(node), rows(node)];
    const late = newPod();
    const { code, msg } = await refuse(node, "ADD", small, late);
    expect(code).toBe(105);
    expect(msg).toBe(
      `Cannot give eth0 of container ${late.containerID} an address: ` +
        "no address is free in 10.9.0.0/29 (10.9.0.1 to 10.9.0.6): all 5 are taken",
    );
    expect([snapshot(node), rows(node), linkNames(late)]).toEqual([state, stored, ["lo"]]);

    // DEL of one gives its addresses to the next.
    await succeed(node, "DEL", small, pods[2]);
    expect(await add(late, small)).toEqual(["10.9.0.4", "fd00:9::7"]);
    for (const pod of [...pods, late]) await succeed(node, "DEL", small, pod);
    expectNothingLeft();
  });

  test("an address rests before it is given again, and bounds and gateways are kept", async () => {
    const range = {
      subnet: "10.9.1.0/24",
      rangeStart: "10.9.1.10",
      rangeEnd: "10.9.1.13",
      gateway: "10.9.1.11",
    };
    const bounded = conf({ ranges: [[range]] }, { name: "bounded" });
    const seen: string[] = [];
    const pod = newPod();
    for (let i = 0; i < 4; i++) {
      seen.push(...(await add(pod, bounded)));
      await succeed(node, "DEL", bounded, pod);
    }
    expect(seen).toEqual(["10.9.1.10", "10.9.1.12", "10.9.1.13", "10.9.1.10"]);
    expectNothingLeft();
  });

  describe("an address of a live pod that the store has lost is not given to another", () => {
    // Three addresses for pods, so the search comes by the lost one again.
    const few = conf(ranges("10.9.4.0/29", "fd00:9:4::/125"));
    const lose = () => {
      const code = `const db = new (require("bun:sqlite").Database)("${node.stateDir}/state.db");
        for (const table of ["leases", "last_leases", "attachments"]) db.run("DELETE FROM " + table);`;
      node.must([process.execPath, "-e", code]);
    };

    test.each([
      ["if its routes are there", (_: string) => []],
      [
        "if only its neighbours are left",
        (dev: string) => [`ip route flush dev ${dev}`, `ip -6 route flush dev ${dev}`],
      ],
    ])("%s", async (_, damage) => {
      const pod = newPod();
      const held = await add(pod, few);
      const hostDev = linkNames(node).find((name) => name.startsWith("wgc")) as string;
      node.script(["true", ...damage(hostDev)]);
      lose();
      const others: Pod[] = [];
      const given: string[] = [];
      for (let i = 0; i < 4; i++) {
        const other = newPod();
        others.push(other);
        given.push(...(await add(other, few)));
      }
      expect(new Set([...held, ...given]).size).toBe(10);
      expect((await refuse(node, "ADD", few, newPod())).code).toBe(105);
      for (const one of [pod, ...others]) await succeed(node, "DEL", few, one);
      // Without a record only the sync knows that these are nobody's.
      node.script(["ip route flush table 18099", "ip -6 route flush table 18099"]);
      expectNothingLeft();
    });

    test("nor is one that the node has itself", async () => {
      node.script(["ip address add 10.9.4.2/32 dev lo"]);
      const pod = newPod();
      const fresh = { ...few, name: "fresh" };
      expect(await add(pod, fresh)).toEqual(["10.9.4.3", "fd00:9:4::2"]);
      await succeed(node, "DEL", fresh, pod);
      node.script(["ip address del 10.9.4.2/32 dev lo"]);
      expectNothingLeft();
    });
  });

  describe("from the node's pod CIDRs", () => {
    test("without any, ADD names the sources that they could come from", async () => {
      const { code, msg } = await refuse(node, "ADD", conf({}), newPod());
      expect(code).toBe(7);
      expect(msg).toBe(
        'Network "pods" has "ipam" without "ranges", and the node has no pod CIDRs: add ranges, or run `wg-cni up --pod-cidr CIDR`',
      );
      expectNothingLeft();
    });

    test("gives one of each family", async () => {
      await joinMesh([node]);
      const pod = newPod();
      expect(await add(pod, conf({}))).toEqual(["10.244.1.2", "fd00:10:244:1::2"]);
      expect(addressesOf(pod, "eth0")).toEqual(["10.244.1.2/32", "fd00:10:244:1::2/128"]);
      expect(ip(pod, "link", "show", "dev", "eth0")[0].mtu).toBe(
        ip(node, "link", "show", "dev", "wg-cni-a")[0].mtu,
      );
      await succeed(node, "DEL", conf({}), pod);
      await leaveMesh([node]);
      expect(rows(node)).toEqual(noRows);
    });
  });

  describe("what is asked for", () => {
    const asked = conf(ranges("10.9.2.0/24", "fd00:9:2::/64"), { capabilities: { ips: true, mac: true } });
    const tests: [string, object, object, string[]][] = [
      ["ips", { runtimeConfig: { ips: ["10.9.2.77", "fd00:9:2::77"] } }, {}, ["10.9.2.77", "fd00:9:2::77"]],
      ["ips with lengths", { runtimeConfig: { ips: ["10.9.2.78/24"] } }, {}, ["10.9.2.78"]],
      ["CNI_ARGS", {}, { args: "IP=10.9.2.79;IgnoreUnknown=1;K8S_POD_NAME=x" }, ["10.9.2.79"]],
      [
        "ips of the second of two sets of a family",
        { ipam: ranges("10.9.2.0/24", "10.9.20.0/24"), runtimeConfig: { ips: ["10.9.20.5"] } },
        {},
        ["10.9.20.5"],
      ],
      ["args.cni", { args: { cni: { ips: ["10.9.2.80"] } } }, { args: "IP=10.9.2.81" }, ["10.9.2.80"]],
    ];
    test.each(tests)("an address by %s", async (_, more, options, expected) => {
      const pod = newPod();
      const given = await add(pod, { ...asked, ...more }, options);
      expect(given).toHaveLength(2);
      expect(given).toEqual(expect.arrayContaining(expected));
      await succeed(node, "DEL", asked, pod);
      expectNothingLeft();
    });

    const refusals: [string, string[], string][] = [
      [
        "outside",
        ["10.10.0.1"],
        "the requested address 10.10.0.1 is not in 10.9.2.0/24 (10.9.2.1 to 10.9.2.254)",
      ],
      ["the gateway", ["10.9.2.1"], "the requested address 10.9.2.1 is the gateway of 10.9.2.0/24"],
      ["the broadcast address", ["10.9.2.255"], "the requested address 10.9.2.255 is not in"],
      ["a second of one family", ["10.9.2.5", "10.9.2.6"], "Cannot give the requested address 10.9.2.6"],
      ["no address", ["10.9.2"], 'runtimeConfig.ips[0]: "10.9.2" is not'],
    ];
    test.each(refusals)("%s is refused and takes nothing", async (_, ips, words) => {
      const { code, msg } = await refuse(node, "ADD", { ...asked, runtimeConfig: { ips } }, newPod());
      expect(code).toBe(7);
      expect(msg).toContain(words);
      expectNothingLeft();
    });

    test("one that is taken is refused, the other family's too is not kept", async () => {
      const first = newPod();
      await add(first, { ...asked, runtimeConfig: { ips: ["10.9.2.90"] } });
      const stored = rows(node);
      const { code, msg } = await refuse(
        node,
        "ADD",
        { ...asked, runtimeConfig: { ips: ["10.9.2.90"] } },
        newPod(),
      );
      expect(code).toBe(7);
      expect(msg).toContain("the requested address 10.9.2.90 is taken");
      expect(rows(node)).toEqual(stored);
      await succeed(node, "DEL", asked, first);
    });

    test.each([
      ["the capability", { runtimeConfig: { mac: "02:AA:bb:00:00:07" } }, {}],
      ["CNI_ARGS", {}, { args: "MAC=02:aa:bb:00:00:07" }],
    ])("a MAC by %s", async (_, more, options) => {
      const pod = newPod();
      const { json } = await succeed(node, "ADD", { ...asked, ...more }, pod, options);
      expect(json.interfaces?.[1]?.mac).toBe("02:aa:bb:00:00:07");
      expect(ip(pod, "link", "show", "dev", "eth0")[0].address).toBe("02:aa:bb:00:00:07");
      for (const address of addressesOf(pod, "eth0"))
        expect(await ping(node, address.split("/")[0] as string)).toMatchObject({ received: 3 });
      await succeed(node, "CHECK", { ...asked, prevResult: json }, pod);
      await succeed(node, "DEL", asked, pod);
    });
  });

  describe("a failing ADD", () => {
    const plain = conf(ranges("10.9.3.0/24"));

    test("that is the second for the same container leaves the first working", async () => {
      const pod = newPod();
      const [given] = await add(pod, plain);
      const state = [snapshot(node), snapshot(pod), rows(node)];
      const { code, msg } = await refuse(node, "ADD", plain, pod);
      expect(code).toBe(103);
      expect(msg).toContain("is there already. Call DEL first.");
      expect([snapshot(node), snapshot(pod), rows(node)]).toEqual(state);
      expect(await ping(node, given as string)).toMatchObject({ received: 3 });
      await succeed(node, "DEL", plain, pod);
      expectNothingLeft();
    });

    test.each([
      ["an interface of that name is there", () => ["ip link add eth0 type bridge"], {}, 103],
      ["the kernel refuses the link", () => [], { runtimeConfig: { mac: "01:00:00:00:00:01" } }, undefined],
      ["a route is there already", () => [], { ipam: refusedRoute("10.9.3.0/24") }, 103],
    ])("where %s leaves no link and no lease", async (_, prepare, more, expected) => {
      const pod = newPod();
      pod.script(["true", ...prepare()]);
      const podBefore = snapshot(pod);
      const { code } = await refuse(node, "ADD", { ...plain, ...more }, pod);
      if (expected !== undefined) expect(code).toBe(expected);
      expect(snapshot(pod)).toEqual(podBefore);
      expectNothingLeft();
    });

    test("if the MTU is too small for IPv6 says so and takes nothing", async () => {
      const dual = conf(ranges("10.9.3.0/24", "fd00:9:3::/64"), { mtu: 1000 });
      const { code, msg } = await refuse(node, "ADD", dual, newPod());
      expect(code).toBe(7);
      expect(msg).toMatch(/^mtu: 1000 is too small for fd00:9:3::\w+: IPv6 needs at least 1280$/);
      expectNothingLeft();
      const pod = newPod();
      const [given] = await add(pod, { ...plain, mtu: 1000 });
      expect(ip(pod, "link", "show", "dev", "eth0")[0]).toMatchObject({ mtu: 1000, operstate: "UP" });
      expect(await ping(node, given as string)).toMatchObject({ received: 3 });
      await succeed(node, "DEL", plain, pod);
      expectNothingLeft();
    });

    test("in a namespace that is not there says so and takes nothing", async () => {
      const { code, msg } = await refuse(node, "ADD", plain, newPod(), {
        env: { CNI_NETNS: "/run/netns/none" },
      });
      expect(code).toBe(8);
      expect(msg).toContain("Cannot enter the pod's network namespace /run/netns/none: ENOENT");
      expectNothingLeft();
    });

    test("in the node's own namespace is refused before anything is made", async () => {
      const { code, msg } = await refuse(node, "ADD", plain, newPod(), {
        env: { CNI_NETNS: "/proc/self/ns/net" },
      });
      expect({ code, msg }).toEqual({
        code: 8,
        msg: "plugin's netns and netns from CNI_NETNS should not be the same",
      });
      expectNothingLeft();
    });
  });
});

/** A route that the kernel finds to be there already, after everything else of the pod was made. */
function refusedRoute(subnet: string): object {
  return { ranges: [[{ subnet }]], routes: [{ dst: "169.254.1.1/32" }] };
}
