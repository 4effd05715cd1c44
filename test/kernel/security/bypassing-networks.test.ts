// Networks that do not pass this node's routing, and addresses that somebody has chosen: after
// real plugins the chained ADD finds out, strict mode refuses, permissive mode warns, keeps such
// addresses out of everything, and status and doctor know.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import type { CniResult, PluginConf } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { refuse, succeed } from "../support/plugin.ts";
import { throwRoutes } from "../support/reference.ts";

setDefaultTimeout(60_000);

const unprotected = 108;
const ours = { type: "wg-cni", name: "net", cniVersion: "1.0.0" };
const statically = (...addresses: string[]) => ({
  ipam: {
    type: "static",
    addresses: addresses.map((address) => ({ address })),
    routes: [{ dst: "0.0.0.0/0" }],
  },
});
const gateway = (address: string, via: string) => ({
  ipam: { type: "static", addresses: [{ address, gateway: via }], routes: [{ dst: "0.0.0.0/0", gw: via }] },
});

describeKernel("a pod that the tunnel cannot have", () => {
  const lab = withLab("bypass");
  let node: Node;
  let remote: Node;
  let count = 0;

  beforeAll(async () => {
    node = await lab.node("n1", options(1));
    remote = await lab.node("n2", options(2));
    await joinMesh([node, remote]);
    node.script([
      "ip link add up0 type veth peer name up1",
      "ip link set up0 up",
      "ip link set up1 up",
      // As hardware: the other end is nothing of this node's.
      "ip netns add wire",
      "ip link add hd0 type veth peer name hd1 netns wire",
      // Its router is another machine.
      "ip link add brx type bridge",
      "ip link set brx up",
    ]);
  });
  const setMode = async (mode: string) => {
    for (const one of [node, remote])
      expect((await one.wg(["up", ...one.upArguments, "--mode", mode])).exitCode).toBe(0);
  };
  /** A real main plugin first. */
  async function make(main: PluginConf): Promise<{ pod: Pod; prevResult: CniResult }> {
    const pod = node.pod(`p${++count}`);
    const list = { name: "net", cniVersion: "1.0.0", plugins: [main] };
    return { pod, prevResult: (await node.runtime.must("ADD", list, main, pod)) as CniResult };
  }
  const outsideOf = async () =>
    (
      JSON.parse((await node.wg(["status", "--json"])).stdout) as {
        unknownPods: { ip: string; why?: string }[];
      }
    ).unknownPods;

  const passing: [string, PluginConf][] = [
    ["ptp", { type: "ptp", ...gateway("10.244.1.50/24", "10.244.1.1") }],
    [
      "bridge",
      {
        ...{ type: "bridge", bridge: "cni0", isGateway: true, isDefaultGateway: true },
        ipam: { type: "static", addresses: [{ address: "10.244.1.51/24", gateway: "10.244.1.1" }] },
      },
    ],
  ];
  const bypassing: [string, PluginConf, RegExp][] = [
    ["macvlan", { type: "macvlan", master: "up0", ...statically("10.244.1.60/24") }, /kind macvlan/],
    [
      "host-device",
      { type: "host-device", device: "hd0", ...statically("10.244.1.62/24") },
      /other end of eth0 is not in this node/,
    ],
    [
      "a bridge past this node",
      { type: "bridge", bridge: "brx", ...gateway("192.0.2.140/24", "192.0.2.254") },
      /brx to 192\.0\.2\.254/,
    ],
  ];

  describe("strict mode", () => {
    beforeAll(() => setMode("strict"));

    test.each(passing)("%s starts", async (_, main) => {
      const { pod, prevResult } = await make(main);
      const { stderr } = await succeed(node, "ADD", { ...ours, prevResult }, pod);
      expect(stderr).toBe("");
      await end(main, pod, prevResult);
    });

    test.each(bypassing)("%s does not start", async (_, main, why) => {
      const { pod, prevResult } = await make(main);
      const { code, msg } = await refuse(node, "ADD", { ...ours, prevResult }, pod);
      expect(code).toBe(unprotected);
      expect(msg).toMatch(why);
      expect(throwRoutes(node)).toEqual(ownThrows);
      await end(main, pod, prevResult);
    });

    test("vhost-user, whose interface is in no namespace, does not start", async () => {
      const pod = node.pod(`p${++count}`);
      const prevResult = {
        cniVersion: "1.0.0",
        interfaces: [{ name: "eth0", sandbox: pod.netns, socketPath: "/run/vhost.sock" }],
        ips: [{ address: "10.244.1.70/24", interface: 0 }],
      };
      expect((await refuse(node, "ADD", { ...ours, prevResult }, pod)).code).toBe(unprotected);
    });
  });

  const chosen: [string, string][] = [
    ["another node's pod, IPv4", "10.244.2.7/32"],
    ["another node's pod, IPv6", "fd00:10:244:2::7/128"],
    ["another node itself", "192.0.2.2/32"],
    ["another node itself, IPv6", "2001:db8::2/128"],
    ["the gateway", "192.0.2.254/32"],
  ];

  describe.each(["strict", "permissive"])("an address of another host, mode %s", (mode) => {
    beforeAll(() => setMode(mode));

    test.each(chosen)("%s", async (_, address) => {
      const pod = node.pod(`p${++count}`);
      const prevResult = attachByHand(pod, "1.0.0", { hostDev: `veth-x${count}`, ips: [{ address }] });
      const add = { ...ours, prevResult };
      if (mode === "strict") expect((await refuse(node, "ADD", add, pod)).code).toBe(unprotected);
      else {
        expect((await succeed(node, "ADD", add, pod)).stderr).toContain("cannot be this node's pod");
        expect((await outsideOf()).map(({ ip }) => ip)).toContain(address.split("/")[0] as string);
      }
      expect(throwRoutes(node)).toEqual(ownThrows);
      await node.wg(["sync"]);
      expect(throwRoutes(node)).toEqual(ownThrows);
      await succeed(node, "CHECK", add, pod).catch((error: Error) => {
        if (mode === "permissive") throw error;
      });
      await succeed(node, "DEL", add, pod);
      removeByHand(pod);
    });

    test("static IPAM of a pod of ours: the address of another node's pod", async () => {
      const pod = node.pod(`p${++count}`);
      const conf = { ...ours, ...statically("10.244.2.9/32") };
      if (mode === "strict") expect((await refuse(node, "ADD", conf, pod)).code).toBe(unprotected);
      else
        expect((await succeed(node, "ADD", conf, pod)).stderr).toContain(
          "10.244.2.9 belongs to another node",
        );
      expect(throwRoutes(node)).toEqual(ownThrows);
      await succeed(node, "DEL", conf, pod);
    });
  });

  describe("permissive mode", () => {
    beforeAll(() => setMode("permissive"));

    test.each(bypassing)(
      "%s starts with a warning; status and doctor name it until it ends",
      async (_, main, why) => {
        const { pod, prevResult } = await make(main);
        const ip = prevResult.ips?.[0]?.address.split("/")[0] as string;
        const { stderr } = await succeed(node, "ADD", { ...ours, prevResult }, pod);
        expect(stderr).toMatch(why);
        expect((await outsideOf()).find((one) => one.ip === ip)?.why).toMatch(why);
        const { stdout } = await node.wg(["doctor", "--json"]);
        expect(stdout).toContain(ip);
        await succeed(node, "CHECK", { ...ours, prevResult }, pod);
        await succeed(node, "DEL", { ...ours, prevResult }, pod);
        await end(main, pod, prevResult);
        expect(await outsideOf()).toEqual([]);
      },
    );

    test("a peer that comes after the pod and owns its address: the pod's throw route goes", async () => {
      const pod = node.pod(`p${++count}`);
      const prevResult = attachByHand(pod, "1.0.0", {
        hostDev: "veth-early",
        ips: [{ address: "10.244.7.7/32" }],
      });
      await succeed(node, "ADD", { ...ours, prevResult }, pod);
      expect(throwRoutes(node)).toContain("10.244.7.7");
      const { stdout } = await remote.wg(["node", "show", "--json"]);
      const record = { ...JSON.parse(stdout), podCIDRs: ["10.244.2.0/24", "10.244.7.0/24"] };
      const imported = await node.wg(["peer", "import", "-"], { stdin: JSON.stringify(record) });
      expect(imported.exitCode).toBe(0);
      await node.wg(["sync"]);
      expect(throwRoutes(node)).not.toContain("10.244.7.7");
      await succeed(node, "DEL", { ...ours, prevResult }, pod);
      removeByHand(pod);
    });
  });

  async function end(main: PluginConf, pod: Pod, prevResult: CniResult): Promise<void> {
    await succeed(node, "DEL", { ...ours, prevResult }, pod);
    await node.runtime.must(
      "DEL",
      { name: "net", cniVersion: "1.0.0", plugins: [main] },
      main,
      pod,
      {},
      prevResult,
    );
    pod.remove();
  }
});

/** Of the node's pod CIDRs. */
const ownThrows = ["10.244.1.0/24", "fd00:10:244:1::/64"];

function options(n: number) {
  return {
    ...{ ip4: `192.0.2.${n}`, ip6: `2001:db8::${n}` },
    podCidrs: [`10.244.${n}.0/24`, `fd00:10:244:${n}::/64`],
  };
}
