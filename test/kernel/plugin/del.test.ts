// Chained DEL under everything that runtimes do to it: no result, no namespace,
// no record, another pod with the same address, a configuration that changed.
// libcni stops a chain at the first DEL that fails, so none of it may.

import { afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import type { CniResult } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { emptyNetns, refuse, succeed } from "../support/plugin.ts";
import { mainRoutes, noRows, rows, snapshot, throwRoutes } from "../support/reference.ts";

const ips = [{ address: "10.9.0.5/32" }, { address: "fd00:9::5/128" }];
const throws = ["10.9.0.5", "fd00:9::5"];

describeKernel("chained DEL", () => {
  const lab = withLab("del");
  let node: Node;
  let pod: Pod;
  let nodeBefore: string[];
  let count = 0;

  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
    nodeBefore = snapshot(node);
  });
  beforeEach(() => {
    pod = node.pod(`p${++count}`);
  });
  afterEach(() => removeByHand(pod));

  const conf = (cniVersion: string, more: object = {}) => ({
    type: "wg-cni",
    name: "pods",
    cniVersion,
    ...more,
  });

  async function attach(version: string, to = pod): Promise<CniResult> {
    const prevResult = attachByHand(to, version, { hostDev: `veth-${to.name}`, ips });
    await succeed(node, "ADD", conf(version, { prevResult }), to);
    expect(throwRoutes(node)).toEqual(throws);
    return prevResult;
  }

  function expectNothingLeft(): void {
    expect(throwRoutes(node)).toEqual([]);
    expect(rows(node)).toEqual(noRows);
  }

  test.each(["0.3.0", "0.3.1", "0.4.0", "1.1.0"])(
    "works from its own record at %s, twice",
    async (version) => {
      await attach(version);
      for (const time of ["first", "again"]) {
        const { stdout, stderr } = await succeed(node, "DEL", conf(version), pod);
        expect({ time, stdout, stderr }).toEqual({ time, stdout: "", stderr: "" });
      }
      expectNothingLeft();
      removeByHand(pod);
      expect(snapshot(node)).toEqual(nodeBefore);
    },
  );

  test("knows the pod without CNI_NETNS", async () => {
    await attach("0.3.1");
    await succeed(node, "DEL", conf("0.3.1"), pod, emptyNetns);
    expectNothingLeft();
  });

  test("knows the pod when its namespace has gone", async () => {
    await attach("0.3.1");
    removeByHand(pod);
    await succeed(node, "DEL", conf("0.3.1"), pod);
    expectNothingLeft();
  });

  test("knows the pod when its namespace has gone and a plain file has the path", async () => {
    await attach("0.3.1");
    removeByHand(pod);
    node.must(["touch", pod.netns]);
    await succeed(node, "DEL", conf("0.3.1"), pod);
    expectNothingLeft();
  });

  test("succeeds for a pod that was never added, and leaves the pod as it is", async () => {
    const prevResult = attachByHand(pod, "1.0.0", { hostDev: `veth-${pod.name}`, ips });
    const before = [mainRoutes(pod), mainRoutes(node)];
    await succeed(node, "DEL", conf("1.0.0", { prevResult }), pod);
    await succeed(node, "DEL", conf("0.3.1"), pod);
    expect([mainRoutes(pod), mainRoutes(node)]).toEqual(before);
    expectNothingLeft();
  });

  test("removes by the result what a lost store no longer knows", async () => {
    const prevResult = await attach("1.0.0");
    node.script([`rm -r ${node.stateDir}`]);
    await succeed(node, "DEL", conf("1.0.0", { prevResult }), pod);
    expectNothingLeft();
  });

  test("of a stale pod leaves a live pod with the same address its routes", async () => {
    await attach("0.4.0");
    const stale = pod;
    removeByHand(stale);
    const live = node.pod("live");
    const prevResult = await attach("0.4.0", live);
    await succeed(node, "DEL", conf("0.4.0"), stale);
    expect(throwRoutes(node)).toEqual(throws);
    await succeed(node, "DEL", conf("0.4.0", { prevResult }), { ...stale, containerID: "unheard-of" } as Pod);
    expect(throwRoutes(node)).toEqual(throws);
    await succeed(node, "DEL", conf("0.4.0"), live);
    expectNothingLeft();
    removeByHand(live);
  });

  test("is about one interface only", async () => {
    await attach("1.0.0");
    const second = attachByHand(pod, "1.0.0", {
      ifname: "net1",
      hostDev: `net1-${pod.name}`,
      ips: [],
    });
    const prevResult = { ...second, ips: [{ address: "10.9.1.5/24", interface: 1 }] };
    await succeed(node, "ADD", conf("1.0.0", { prevResult }), pod, { ifname: "net1" });
    await succeed(node, "DEL", conf("1.0.0"), pod, { ifname: "net1" });
    expect(throwRoutes(node)).toEqual(throws);
    await succeed(node, "DEL", conf("1.0.0"), pod);
    expectNothingLeft();
  });

  test("works after the entry in the configuration became a standalone one, or wrong", async () => {
    await attach("1.0.0");
    const wrong = { mtu: "large", ipam: { ranges: "none" }, prevResult: 7, runtimeConfig: [] };
    const { stderr } = await succeed(node, "DEL", conf("1.0.0", wrong), pod, { args: "no=sense=here" });
    expect(stderr).toContain("mtu: expected a number");
    expectNothingLeft();
  });

  test("is not held up by a route that the kernel will not have back", async () => {
    const made = { hostDev: `veth-${pod.name}`, ips: [{ address: "10.9.0.5/24" }] };
    const prevResult = attachByHand(pod, "0.3.1", made);
    pod.script([
      "ip route replace default via 10.9.0.1",
      "ip route add 10.50.0.0/16 dev eth0 via 10.9.0.1 onlink",
    ]);
    await succeed(node, "ADD", conf("0.3.1", { mtu: 1300, prevResult }), pod);
    // The gateway can no longer be reached, so the kernel refuses every change of the first route.
    pod.script(["ip route del 10.9.0.0/24"]);
    const { stderr } = await succeed(node, "DEL", conf("0.3.1"), pod);
    expect(stderr).toContain("Cannot replace route 0.0.0.0/0 via 10.9.0.1 dev eth0: ENETUNREACH");
    expect(mainRoutes(pod)).toContain("10.50.0.0/16 via 10.9.0.1 dev eth0 onlink");
    expectNothingLeft();
  });

  test("leaves nothing of addresses that the pod had at an earlier ADD", async () => {
    const prevResult = await attach("1.0.0");
    const moved = { ...prevResult, ips: [{ address: "10.9.0.6/32" }, { address: "fd00:9::5/128" }] };
    node.script([`ip route add 10.9.0.6 dev ${prevResult.interfaces?.[0]?.name}`]);
    await succeed(node, "ADD", conf("1.0.0", { prevResult: moved }), pod);
    expect(throwRoutes(node)).toEqual(["10.9.0.6", "fd00:9::5"]);
    await succeed(node, "DEL", conf("1.0.0"), pod);
    expectNothingLeft();
  });

  test("succeeds in a node that never had a store, and without the state directory's parent", async () => {
    await succeed(node, "DEL", conf("0.3.1", { stateDir: "/run/never/made/before" }), pod);
  });

  test("still wants a proper environment", async () => {
    expect(await refuse(node, "DEL", conf("1.0.0"), pod, { env: { CNI_CONTAINERID: "" } })).toMatchObject({
      code: 4,
      msg: "required env variables [CNI_CONTAINERID] missing",
    });
    expect(await refuse(node, "DEL", conf("1.0.0"), pod, { ifname: "a/b" })).toMatchObject({ code: 4 });
  });

  test("leaves the node as it was in the end", () => {
    expect(snapshot(node)).toEqual(nodeBefore);
  });
});
