// The MTU of chained pods: with the mesh up, the routes that lead off the node
// get the tunnel's, everything else of the pod stays, DEL brings back what was
// there, and the reference plugins' CHECK keeps passing. Without a mesh nothing
// is touched.

import { beforeAll, describe, expect, test } from "bun:test";
import { joinMesh, leaveMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import {
  type CniResult,
  type ConfList,
  type PluginConf,
  readConfList,
  withoutPlugin,
} from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { refuse, succeed } from "../support/plugin.ts";
import { ip, mainRoutes, noRows, rows, snapshot, throwRoutes } from "../support/reference.ts";

const settings = (index: number) => ({
  ip4: `192.0.2.${index}`,
  ip6: `2001:db8::${index}`,
  podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`],
});
/** 1500 of the uplink, and the endpoints are IPv4. */
const tunnelMtu = 1440;
const listOf = (file: string): ConfList => readConfList(`${repository}/conf/${file}.conflist`);

describeKernel("chained MTU", () => {
  const lab = withLab("mtu");
  let nodes: [Node, Node];
  /** The tunnel's, as the kernel has it. */
  let mtu: number;

  beforeAll(async () => {
    nodes = [await lab.node("n1", settings(1)), await lab.node("n2", settings(2))];
    await joinMesh(nodes);
    mtu = ip(nodes[0], "link", "show", "dev", "wg-cni-a")[0].mtu;
  });
  test("the tunnel's is the uplink's less what a packet grows by over IPv4", () => {
    expect(mtu).toBe(tunnelMtu);
  });

  describe.each([
    ["ptp", 0, "10-ptp"],
    ["bridge", 1, "10-bridge"],
  ] as const)("after %s", (type, index, file) => {
    const list = listOf(file);
    const [main, ours] = list.plugins as [PluginConf, PluginConf];
    let node: Node;
    let pod: Pod;
    let before: string[];
    let result: CniResult;

    beforeAll(async () => {
      node = nodes[index];
      pod = node.pod(`${type}-a`);
      result = (await node.runtime.must("ADD", list, main, pod)) as CniResult;
      before = mainRoutes(pod);
    });

    test("ADD lowers what has a gateway or is a default route, and only that", async () => {
      const links = snapshot(pod).filter((line) => !/\bvia\b|default/.test(line));
      for (const _ of [1, 2]) {
        expect(await node.runtime.must("ADD", list, ours, pod, {}, result)).toEqual(result);
        expect(mainRoutes(pod)).toEqual(before.map(lowered).sort());
        expect(snapshot(pod).filter((line) => !/\bvia\b|default/.test(line))).toEqual(links);
      }
      expect(mainRoutes(pod).filter((line) => line.includes("mtu 1440")).length).toBeGreaterThanOrEqual(2);
    });

    test("CHECK passes, the reference plugin's too", async () => {
      node.runtime.cache.set(`${list.name} ${pod.containerID} eth0`, result);
      await node.runtime.check(list, pod);
    });

    test("CHECK names a route whose MTU was raised again", async () => {
      const conf = { ...ours, name: list.name, cniVersion: list.cniVersion, prevResult: result };
      const line = mainRoutes(pod).find(
        (route) => route.startsWith("default") && !route.includes("::"),
      ) as string;
      pod.script([`ip route replace ${line.replace(/ mtu \d+/, "")}`]);
      const { code, msg } = await refuse(node, "CHECK", conf, pod);
      expect(code).toBe(104);
      expect(msg).toContain("the pod's route 0.0.0.0/0 has no MTU of 1440");
      await succeed(node, "ADD", conf, pod);
      await succeed(node, "CHECK", conf, pod);
    });

    test("DEL brings back what was there, and the reference plugin's CHECK and DEL pass after it", async () => {
      await node.runtime.must("DEL", list, ours, pod);
      expect(mainRoutes(pod)).toEqual(before);
      expect(throwRoutes(node).filter((route) => !route.includes("/"))).toEqual([]);
      const rest = withoutPlugin(list, "wg-cni");
      await node.runtime.check(rest, pod);
      await node.runtime.del(rest, pod);
    });
  });

  test("packets of exactly that size reach another node's pod, encrypted; larger ones do not leave", async () => {
    const [n1, n2] = nodes;
    const [a, b] = [n1.pod("a"), n2.pod("b")];
    await n1.runtime.add(listOf("10-ptp"), a);
    await n2.runtime.add(listOf("10-bridge"), b);
    const capture = await lab.capture();
    for (const [family, header] of [
      [4, 28],
      [6, 48],
    ] as const) {
      const fits = { size: mtu - header, dontFragment: true };
      expect(await ping(a, b.ip(family), fits)).toMatchObject({ received: 3 });
      expect(await ping(b, a.ip(family), fits)).toMatchObject({ received: 3 });
      const large = ["-M", "do", "-s", `${mtu - header + 1}`, "-c", "1", "-W", "0.2"];
      const { stdout, stderr } = await a.run(["ping", ...large, b.ip(family)]);
      expect(stdout + stderr).toMatch(/message too long|Packet too big/i);
    }
    expect((await capture.tally()).packets).toMatchObject({ plaintext: 0, other: 0 });
    await capture.stop();
    await n1.runtime.del(listOf("10-ptp"), a);
    await n2.runtime.del(listOf("10-bridge"), b);
  });

  test("other attributes of a route stay, and a lower MTU is kept", async () => {
    const [node] = nodes;
    const pod = node.pod("attributes");
    const ips = [
      { address: "10.9.0.5/24", gateway: "10.9.0.1" },
      { address: "fd00:9::5/64", gateway: "fd00:9::1" },
    ];
    const prevResult = attachByHand(pod, "1.0.0", { hostDev: "veth-attr", ips });
    pod.script([
      "ip route add 10.50.0.0/16 via 10.9.0.1 src 10.9.0.5 metric 7 mtu 1480 advmss 1300 initcwnd 20 rto_min 200ms proto 42",
      "ip route add 10.50.0.0/16 via 10.9.0.2 metric 8 mtu lock 9000",
      "ip route add 10.51.0.0/16 via 10.9.0.1 mtu 1300",
      "ip route add 10.52.0.0/16 dev eth0 scope link",
      "ip route add blackhole 10.53.0.0/16",
      "ip route add 10.54.0.0/16 via 10.9.0.1 table 77",
      "ip -6 route add fd00:50::/64 via fd00:9::1 metric 7 pref high mtu 1490 hoplimit 9",
      "ip -6 route add fd00:52::/64 dev eth0",
    ]);
    const before = snapshot(pod);
    const conf = { type: "wg-cni", name: "pods", cniVersion: "1.0.0", prevResult };
    await succeed(node, "ADD", conf, pod);
    const expected = before.map(lowered);
    expect(snapshot(pod)).not.toEqual(before);
    expect(snapshot(pod).toSorted()).toEqual(expected.sort());
    await succeed(node, "CHECK", conf, pod);
    await succeed(node, "DEL", conf, pod);
    expect(snapshot(pod).toSorted()).toEqual(before.toSorted());
    removeByHand(pod);
  });

  test("DEL restores what is still there of the pod's routes", async () => {
    const [node] = nodes;
    const pod = node.pod("changed");
    const ips = [{ address: "10.9.0.5/24", gateway: "10.9.0.1" }];
    const prevResult = attachByHand(pod, "0.3.1", { hostDev: "veth-chg", ips });
    pod.script(["ip route add 10.50.0.0/16 via 10.9.0.1"]);
    const conf = { type: "wg-cni", name: "pods", cniVersion: "0.3.1" };
    await succeed(node, "ADD", { ...conf, prevResult }, pod);
    pod.script(["ip route del 10.50.0.0/16"]);
    await succeed(node, "DEL", conf, pod);
    expect(mainRoutes(pod)).toEqual([
      "10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.5",
      "default via 10.9.0.1 dev eth0 onlink",
    ]);
    await succeed(node, "ADD", { ...conf, prevResult }, pod);
    pod.script(["ip link del eth0"]);
    expect(await succeed(node, "DEL", conf, pod)).toMatchObject({ stderr: "" });
    removeByHand(pod);
  });

  test("the configuration's wins over the tunnel's", async () => {
    const [node] = nodes;
    const pod = node.pod("configured");
    const ips = [{ address: "10.9.0.5/24", gateway: "10.9.0.1" }];
    const prevResult = attachByHand(pod, "1.0.0", { hostDev: "veth-cfg", ips });
    const conf = { type: "wg-cni", name: "pods", cniVersion: "1.0.0", mtu: 1280, prevResult };
    await succeed(node, "ADD", conf, pod);
    expect(mainRoutes(pod)).toContain("default via 10.9.0.1 dev eth0 onlink mtu 1280");
    await succeed(node, "DEL", conf, pod);
    removeByHand(pod);
  });

  test("after `down` no MTU is touched, and pods added before get theirs back", async () => {
    const [node] = nodes;
    const list = listOf("10-ptp");
    const [main, ours] = list.plugins as [PluginConf, PluginConf];
    const [early, late] = [node.pod("early"), node.pod("late")];
    const earlyResult = (await node.runtime.must("ADD", list, main, early)) as CniResult;
    const earlyBefore = mainRoutes(early);
    await node.runtime.must("ADD", list, ours, early, {}, earlyResult);
    expect(mainRoutes(early)).not.toEqual(earlyBefore);
    await leaveMesh(nodes);
    const lateResult = (await node.runtime.must("ADD", list, main, late)) as CniResult;
    const lateBefore = mainRoutes(late);
    await node.runtime.must("ADD", list, ours, late, {}, lateResult);
    expect(mainRoutes(late)).toEqual(lateBefore);
    await node.runtime.must("DEL", list, ours, early);
    expect(mainRoutes(early)).toEqual(earlyBefore);
    await node.runtime.must("DEL", list, ours, late);
    expect(rows(node)).toEqual(noRows);
  });
}, ["wireguard-go", "tcpdump", "/usr/lib/cni/bridge"]);

/** A line of `ip route` with the tunnel's MTU where the product is to set it. */
function lowered(line: string): string {
  const offNode = /\bvia\b|^default/.test(line) && !/table 77/.test(line);
  const present = /mtu (?:lock )?(\d+)/.exec(line);
  if (!offNode || Number(present?.[1] ?? 65_536) <= tunnelMtu) return line;
  if (present !== null) return line.replace(present[0], `${present[0].replace(/\d+/, "")}${tunnelMtu}`);
  const at = / pref \w+ *$| *$/.exec(line)?.index ?? line.length;
  return `${line.slice(0, at)} mtu ${tunnelMtu}${line.slice(at)}`;
}
