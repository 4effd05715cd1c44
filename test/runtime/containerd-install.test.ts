// wg-cni comes to a node whose containerd runs, and leaves again: containerd has no
// need to be told, and pods of before and after come and go as ever.

import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { snapshot } from "../kernel/support/reference.ts";
import type { Node } from "../lab/node.ts";
import type { Pod } from "../lab/pod.ts";
import { ping } from "../lab/traffic.ts";
import { withLab } from "../lab/with-lab.ts";
import { Containerd, type Sandbox } from "./support/containerd.ts";
import { Context } from "./support/context.ts";
import { binDir } from "./support/enclosure.ts";
import { describeRuntime } from "./support/gate.ts";
import { kindnet, networkFile, rangesOf, writeNetwork } from "./support/networks.ts";
import { type Traces, traces } from "./support/reference.ts";

describeRuntime("containerd", "installed while containerd runs", () => {
  const lab = withLab("installed", { hasControlGroup: true });
  let context: Context;
  let containerd: Containerd;
  let node: Node;
  let remote: Pod;
  let original: string;
  let before: Traces;
  let old: Sandbox;
  let ours: Sandbox;

  const network = () => readFileSync(node.outsidePath(networkFile), "utf8");

  beforeAll(async () => {
    context = await Context.create(lab, { nodes: 2 });
    node = context.enclosure.node;
    node.must(["rm", `${binDir}/wg-cni`]);
    writeNetwork(context.enclosure, kindnet(rangesOf(node), []));
    original = network();
    containerd = await Containerd.create(context.enclosure, context.archive);
    remote = await context.remotePod();
  });

  test("containerd sees it by itself, and the next pod is ours and encrypted", async () => {
    before = traces(containerd.enclosure);
    old = await containerd.runPod("old");
    expect(traces(containerd.enclosure).throwRoutes).toEqual(before.throwRoutes);
    expect(await node.wg(["install"])).toMatchObject({ exitCode: 0 });
    await containerd.hasRead(["ptp", "portmap", "wg-cni"]);
    ours = await containerd.runPod("ours");
    expect(traces(containerd.enclosure).throwRoutes).toEqual([...before.throwRoutes, ...ours.ips].sort());
    const capture = await lab.capture();
    expect(await ping(remote, ours.ips[0] as string)).toMatchObject({ received: 3 });
    expect((await capture.tally()).packets).toMatchObject({ plaintext: 0, wireguard: expect.any(Number) });
    await capture.stop();
  });

  test("a pod of before is removed by the network of now: our DEL knows nothing of it and succeeds", async () => {
    await containerd.removePod(old.id);
    const { attachments, hostLocalLeases } = traces(containerd.enclosure);
    expect(attachments).toHaveLength(1);
    expect(hostLocalLeases).toEqual([...ours.ips]);
  });

  test("uninstalled, the network has its bytes back, and pods come and go without us", async () => {
    expect(await node.wg(["uninstall"])).toMatchObject({ exitCode: 0 });
    expect(network()).toBe(original);
    expect(node.exec(["ls", `${binDir}/wg-cni`]).exitCode).not.toBe(0);
    await containerd.hasRead(["ptp", "portmap"]);
    await containerd.removePod(ours.id);
    const next = await containerd.runPod("next");
    expect(await ping(remote, next.ips[0] as string)).toMatchObject({ received: 3 });
    await containerd.removePod(next.id);
    // Nobody calls us any more for the pod that we had, so the mesh keeps its route until it goes down.
    const { network: now, hostLocalLeases, namespaces } = traces(containerd.enclosure);
    const kept = now.filter((line) => !before.network.includes(line)).map((line) => line.trim());
    expect(kept).toEqual([`throw ${ours.ips[0]} table 18099 proto 118`]);
    expect([hostLocalLeases, namespaces]).toEqual([[], []]);
    expect(await node.wg(["down"])).toMatchObject({ exitCode: 0 });
    expect(snapshot(node).filter((line) => /wg-cni|proto 118/.test(line))).toEqual([]);
  });
});
