// A node's record has some of its pods, and lacks others: those within its pod CIDRs are covered, whichever
// plugin made them; one outside of them, or behind a bridge that is the uplink, is named by `status` and `doctor`.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeByHand } from "../support/by-hand.ts";
import { missing, wgJson, wgMust } from "../support/mesh-reference.ts";

setDefaultTimeout(120_000);

interface Doctor {
  readonly findings: readonly { readonly check: string; readonly level: string }[];
}

const unknownPods = async (node: Node) => {
  const { stdout } = await node.wg(["status", "--json"]);
  return (JSON.parse(stdout) as { unknownPods: readonly { ip: string; dev?: string }[] }).unknownPods;
};
const announced = async (node: Node) => (await wgJson<NodeRecord>(node, ["node", "show"])).podCIDRs;

describe.skipIf(missing !== undefined)("pods of a node with a pod CIDR", () => {
  const lab = withLab("within");
  let node: Node;

  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: ["10.244.1.0/24"] });
  });
  const plugins = {
    ptp: { type: "ptp" },
    bridge: { type: "bridge", bridge: "cni0", isGateway: true },
  } as const;

  test.each(Object.entries(plugins))("one that %s made before us is covered by it", async (name, plugin) => {
    const pod = node.pod(`of-${name}`);
    await node.runtime.add(
      {
        ...{ cniVersion: "1.0.0", name },
        plugins: [{ ...plugin, ipam: { type: "host-local", ranges: [[{ subnet: "10.244.1.0/24" }]] } }],
      },
      pod,
    );
    await wgMust(node, ["up", ...node.upArguments]);
    expect(await unknownPods(node)).toEqual([]);
    expect(node.must(["ip", "route", "show", "table", "18099"])).toContain("throw 10.244.1.0/24");
    expect(await ping(node, pod.ip(4))).toMatchObject({ received: 3 });
  });

  test("one outside of it is named, and `doctor` warns", async () => {
    const pod = node.pod("stray");
    makeByHand(pod, {
      hostDev: "veth-stray",
      ips: [{ address: "10.99.0.7/32", gateway: "192.0.2.1" }],
    });
    expect(await unknownPods(node)).toEqual([{ ip: "10.99.0.7", dev: "veth-stray" }]);
    const { stdout } = await node.wg(["doctor", "--json"]);
    const { findings } = JSON.parse(stdout) as Doctor;
    expect(findings.find(({ check }) => check === "pods")?.level).toBe("warn");
  });
});

describe.skipIf(missing !== undefined)("pods behind a bridge that is the uplink", () => {
  const lab = withLab("bridged");
  let node: Node;

  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    node.script([
      "ip link add br0 type bridge forward_delay 0",
      "ip link set eth0 master br0",
      "ip address flush dev eth0",
      "ip address add 192.0.2.1/24 dev br0",
      "ip link set br0 up",
      "ip route replace default via 192.0.2.254 dev br0",
    ]);
  });
  test("one in use is named and not announced, and the wire is no pod", async () => {
    await wgMust(node, ["up", "--node", "n1", "--pod-addresses", "pods"]);
    const pod = node.pod("bridged");
    node.script([
      `ip link add veth-b type veth peer name eth0 netns ${pod.name}`,
      "ip link set veth-b master br0 up",
      `ip -n ${pod.name} link set eth0 up`,
      `ip -n ${pod.name} address add 192.0.2.140/24 dev eth0`,
    ]);
    // Control: the wire behind eth0, which is a pair into another namespace too, is none.
    expect(await ping(node, "192.0.2.254")).toMatchObject({ received: 3 });
    expect(await unknownPods(node)).toEqual([]);
    expect(await ping(node, "192.0.2.140")).toMatchObject({ received: 3 });
    expect(await unknownPods(node)).toEqual([{ ip: "192.0.2.140", dev: "veth-b" }]);
    await wgMust(node, ["sync"]);
    expect(await announced(node)).toEqual([]);
  });
});
