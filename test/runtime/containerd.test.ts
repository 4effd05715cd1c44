// Pods of containerd, made through its CRI as the kubelet makes them: with us
// behind ptp and portmap on one node, and as the main plugin on the other.

import { beforeAll, expect, test } from "bun:test";
import { throwRoutes } from "../kernel/support/reference.ts";
import type { Capture } from "../lab/capture.ts";
import { Namespaces } from "../lab/namespaces.ts";
import { http } from "../lab/traffic.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { Containerd, type Sandbox } from "./support/containerd.ts";
import { Context } from "./support/context.ts";
import type { Enclosure } from "./support/enclosure.ts";
import { describeRuntime } from "./support/gate.ts";
import { kindnet, rangesOf, standalone, writeNetwork } from "./support/networks.ts";
import { traces, transferred } from "./support/reference.ts";

describeRuntime("containerd", "pods of containerd on two nodes", () => {
  const lab = withLab("containerd", { hasControlGroup: true });
  let context: Context;
  let capture: Capture;
  let chained: Containerd;
  let alone: Containerd;
  const before = new Map<Containerd, unknown>();
  let a: Sandbox;
  let b: Sandbox;
  let inA: string;
  let inB: string;

  beforeAll(async () => {
    context = await Context.create(lab, { nodes: 2, hasIp6: true });
    const [first, second] = context.enclosures as [Enclosure, Enclosure];
    chained = await Containerd.create(first, context.archive);
    alone = await Containerd.create(second, context.archive);
  });

  // containerd asks plugins themselves (STATUS) only from 2.0 on: before, a network that it could read is ready.
  test("the node is ready as soon as there is a network, and not before", async () => {
    for (const [containerd, list] of [
      [chained, kindnet(rangesOf(chained.node))],
      [alone, standalone()],
    ] as const) {
      expect(await containerd.network()).toEqual({ isReady: false, plugins: [] });
      writeNetwork(containerd.enclosure, list);
      await containerd.hasRead(list.plugins.map(({ type }) => type));
      expect((await containerd.network()).isReady).toBe(true);
    }
  });

  test("a pod's status has an address of each family, and its container has them", async () => {
    for (const containerd of [chained, alone]) before.set(containerd, traces(containerd.enclosure));
    a = await chained.runPod("a");
    b = await alone.runPod("b");
    inA = await chained.runContainer(a);
    inB = await alone.runContainer(b);
    for (const [containerd, { ips }, container] of [
      [chained, a, inA],
      [alone, b, inB],
    ] as const) {
      const prefixes = containerd.node.podCidrs.map((cidr) => cidr.replace(/[^.:]*\/\d+$/, ""));
      expect(ips.map((ip, i) => ip.startsWith(prefixes[i] as string))).toEqual([true, true]);
      const shown = await containerd.crictl("exec", container, "ip", "address", "show", "dev", "eth0");
      for (const ip of ips) expect(shown).toContain(` ${ip}/`);
    }
    expect(throwRoutes(chained.node)).toEqual(expect.arrayContaining([...a.ips]));
  });

  test("containers on different nodes reach each other, and nothing of it can be read on the wire", async () => {
    capture = await lab.capture();
    const sent = transferred(chained.node);
    for (const ip of b.ips) expect(await ping(chained, inA, ip)).toContain(" 0% packet loss");
    for (const ip of a.ips) expect(await ping(alone, inB, ip)).toContain(" 0% packet loss");
    const { packets } = await capture.tally();
    expect(packets).toMatchObject({ plaintext: 0, host: 0, other: 0 });
    expect(packets.wireguard).toBeGreaterThanOrEqual(16);
    // Four pings and their answers of 84 bytes and more, both ways.
    for (const node of lab.nodes) expect(transferred(node)).toBeGreaterThan(8 * 84);
    expect(transferred(chained.node)).toBeGreaterThan(sent);
    await capture.stop();
  });

  test("the capture would have seen it: pods that go around the tunnel are in plaintext", async () => {
    const control = await lab.capture();
    chained.node.must(["ip", "rule", "delete", "priority", "98"]);
    await ping(chained, inA, b.ips[0] as string);
    expect((await control.tally()).packets.plaintext).toBeGreaterThan(0);
    await control.stop();
    expect(await chained.node.wg(["sync"])).toMatchObject({ exitCode: 0 });
    expect(await ping(chained, inA, b.ips[0] as string)).toContain(" 0% packet loss");
  });

  test("a port of the node that portmap leads to a pod answers nodes and pods, encrypted where it leaves a pod", async () => {
    const web = await chained.runPod("web", 8081);
    await chained.runContainer(web, ["/bin/sh", "-c", serve]);
    const capture = await lab.capture();
    const ask = (from: Namespaces) => http(from, "192.0.2.1", 5, 8081);
    await waitUntil(async () => (await ask(alone.node)).ok, {
      what: "the pod answers the other node",
      everyMs: 100,
    });
    expect(await ask(alone.node)).toEqual({ ok: true, text: "from a pod\n" });
    expect(await ask(inside(alone, b))).toEqual({ ok: true, text: "from a pod\n" });
    expect((await capture.tally()).packets.plaintext).toBe(0);
    expect(await capture.readable("from a pod")).toBe(0);
    await capture.stop();
    await chained.removePod(web.id);
  });

  test("ten pods at once come with addresses of their own, and go at once", async () => {
    const pods = await Promise.all(
      Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? chained : alone)).map(async (containerd, i) => ({
        containerd,
        ...(await containerd.runPod(`pod${i}`)),
      })),
    );
    expect(new Set(pods.flatMap(({ ips }) => ips)).size).toBe(20);
    for (const containerd of [chained, alone])
      expect(traces(containerd.enclosure).attachments).toHaveLength(6);
    await Promise.all(pods.map(({ containerd, id }) => containerd.removePod(id)));
  });

  test("StopPodSandbox and RemovePodSandbox leave nothing of the pods", async () => {
    await chained.removePod(a.id);
    await alone.removePod(b.id);
    for (const containerd of [chained, alone]) {
      expect(traces(containerd.enclosure)).toEqual(before.get(containerd) as never);
      expect(await containerd.crictl("pods", "--quiet")).toBe("");
    }
  });
});

/** httpd of busybox serves a directory. */
const serve = "echo from a pod >/tmp/index.html; exec busybox httpd -f -p 80 -h /tmp";

/** The pod's network, with the node's programs. */
function inside({ node }: Containerd, { name, netns }: Sandbox): Namespaces {
  const enter = node.enter.filter((option) => option !== "-n");
  return new Namespaces(`${node.name}/${name}`, [...enter, `-n${node.outsidePath(netns)}`]);
}

function ping(containerd: Containerd, container: string, ip: string): Promise<string> {
  return containerd
    .crictl("exec", container, "ping", "-c", "2", "-i", "0.2", "-W", "5", ip)
    .catch(({ message }) => message);
}
