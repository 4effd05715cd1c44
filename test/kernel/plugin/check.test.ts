// CHECK of a chained pod: passes right after ADD, and where something is
// missing says what, in words that name it.

import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { joinMesh, leaveMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import type { CniResult } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { refuse, succeed } from "../support/plugin.ts";
import { throwRoutes } from "../support/reference.ts";

describeKernel("chained CHECK", () => {
  const lab = withLab("check");
  let node: Node;
  let count = 0;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
  });
  describe.each(["0.4.0", "1.0.0", "1.1.0"])("at %s", (cniVersion) => {
    let pod: Pod;
    let prevResult: CniResult;
    const conf = (more: object = {}) => ({ type: "wg-cni", name: "pods", cniVersion, prevResult, ...more });
    beforeEach(async () => {
      pod = node.pod(`p${++count}`);
      const ips = [{ address: "10.9.0.5/24", gateway: "10.9.0.1" }, { address: "fd00:9::5/64" }];
      prevResult = attachByHand(pod, cniVersion, { hostDev: `veth-${pod.name}`, ips });
      await succeed(node, "ADD", conf(), pod);
    });
    afterEach(async () => {
      await succeed(node, "DEL", conf(), pod);
      removeByHand(pod);
    });

    test("passes right after ADD, prints nothing, and tolerates what later plugins add", async () => {
      expect(await succeed(node, "CHECK", conf(), pod)).toMatchObject({ stdout: "", stderr: "" });
      pod.script([
        "ip link add net1 type bridge",
        "ip address add 10.77.0.1/24 dev net1",
        "ip address add 10.88.0.1/32 dev eth0",
        "ip link set eth0 mtu 1400",
        "ip route add 10.99.0.0/16 dev eth0",
      ]);
      await succeed(node, "CHECK", conf(), pod);
    });

    test.each([
      [
        "throw route",
        "ip route del throw 10.9.0.5 table 18099",
        '"throw 10.9.0.5" is missing from table 18099',
      ],
      [
        "IPv6 throw route",
        "ip -6 route del throw fd00:9::5 table 18099",
        '"throw fd00:9::5" is missing from table 18099',
      ],
    ])("names a missing %s", async (_, command, words) => {
      node.script([command]);
      const { code, msg } = await refuse(node, "CHECK", conf(), pod);
      expect(code).toBe(104);
      expect(msg).toStartWith(`eth0 of container ${pod.containerID} is not as it was set up: `);
      expect(msg).toContain(words);
      expect(msg.split("; ")).toHaveLength(1);
    });

    test.each([
      ["address", "ip address del 10.9.0.5/24 dev eth0", "eth0 of the pod has lost its address 10.9.0.5"],
      [
        "IPv6 address",
        "ip address del fd00:9::5/64 dev eth0",
        "eth0 of the pod has lost its address fd00:9::5",
      ],
      ["interface", "ip link del eth0", "the pod has no interface eth0"],
    ])("names a missing %s of the pod", async (_, command, words) => {
      pod.script([command]);
      const { code, msg } = await refuse(node, "CHECK", conf(), pod);
      expect(code).toBe(104);
      expect(msg).toContain(words);
      expect(msg.split("; ")).toHaveLength(1);
    });

    test("names everything that is missing at once", async () => {
      node.script(["ip route flush table 18099", "ip -6 route flush table 18099"]);
      pod.script(["ip link del eth0"]);
      const { msg } = await refuse(node, "CHECK", conf(), pod);
      expect(msg.split("; ")).toHaveLength(3);
    });

    test("says that the namespace has gone", async () => {
      removeByHand(pod);
      const { code, msg } = await refuse(node, "CHECK", conf(), pod);
      expect(code).toBe(8);
      expect(msg).toBe(
        `Cannot enter the pod's network namespace ${pod.netns}: ENOENT. Has the container ended meanwhile?`,
      );
    });

    test("says that the pod is not on record", async () => {
      const { code, msg } = await refuse(node, "CHECK", conf({ stateDir: "/run/another" }), pod);
      expect(code).toBe(104);
      expect(msg).toContain("the store has no record of this container");
    });

    test("needs the result of ADD", async () => {
      const { code, msg } = await refuse(node, "CHECK", { ...conf(), prevResult: undefined }, pod);
      expect(code).toBe(7);
      expect(msg).toContain("prevResult is missing");
    });
  });

  test("passes after `down`, which takes the throw routes away, and names them again once the node is up", async () => {
    const [chained, own] = [node.pod("chained"), node.pod("own")];
    const prevResult = attachByHand(chained, "1.1.0", {
      hostDev: "veth-down",
      ips: [{ address: "10.9.0.5/24" }],
    });
    const conf = { type: "wg-cni", name: "pods", cniVersion: "1.1.0", prevResult };
    const ownConf = {
      ...conf,
      name: "own",
      prevResult: undefined,
      ipam: { ranges: [[{ subnet: "10.9.5.0/24" }]] },
    };
    await succeed(node, "ADD", conf, chained);
    const { json } = await succeed(node, "ADD", ownConf, own);
    const calls = [
      [conf, chained],
      [{ ...ownConf, prevResult: json }, own],
    ] as const;
    await joinMesh([node]);
    await leaveMesh([node]);
    expect(throwRoutes(node)).toEqual([]);
    for (const [given, pod] of calls) await succeed(node, "CHECK", given, pod);
    await joinMesh([node]);
    node.script(["ip route flush type throw table 18099"]);
    for (const [given, pod] of calls) expect((await refuse(node, "CHECK", given, pod)).code).toBe(104);
    for (const [given, pod] of calls) await succeed(node, "DEL", given, pod);
    await leaveMesh([node]);
    removeByHand(chained);
    own.remove();
  });

  test.each(["0.1.0", "0.2.0", "0.3.0", "0.3.1"])("does not exist at %s", async (cniVersion) => {
    const pod = node.pod(`old${++count}`);
    const conf = { type: "wg-cni", name: "pods", cniVersion };
    expect(await refuse(node, "CHECK", conf, pod)).toMatchObject({
      code: 1,
      msg: "config version does not allow CHECK",
    });
  });
});
