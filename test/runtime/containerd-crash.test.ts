// containerd, its shims and plugins die at any time: what the pods had is released
// all the same, which the next pod shows, as there is one address for all of them.

import { beforeAll, describe, expect, test } from "bun:test";
import type { ConfList } from "../lab/runtime.ts";
import { withLab } from "../lab/with-lab.ts";
import { Containerd, type Sandbox } from "./support/containerd.ts";
import { Context } from "./support/context.ts";
import type { Enclosure } from "./support/enclosure.ts";
import { describeRuntime } from "./support/gate.ts";
import { gate, holdAdd, installGate } from "./support/gate-plugin.ts";
import { kindnet, ours, rangesOf, standalone, writeNetwork } from "./support/networks.ts";
import { type Traces, traces } from "./support/reference.ts";

const onlyIp = "10.244.1.7";

describeRuntime("containerd", "containerd dies", () => {
  const lab = withLab("crash", { hasControlGroup: true });
  let context: Context;
  let containerd: Containerd;
  let enclosure: Enclosure;
  let before: Traces;

  beforeAll(async () => {
    context = await Context.create(lab);
    enclosure = context.enclosure;
    installGate(enclosure);
    containerd = await Containerd.create(enclosure, context.archive);
  });

  const networks: Record<string, () => ConfList> = {
    chained: () => kindnet(rangesOf(enclosure.node, 7), [ours, gate]),
    standalone: () => standalone({ ranges: rangesOf(enclosure.node, 7) }, [gate]),
  };

  describe.each(Object.entries(networks))("%s", (_, network) => {
    beforeAll(async () => {
      const list = network();
      writeNetwork(enclosure, list);
      await containerd.hasRead(list.plugins.map(({ type }) => type));
      before = traces(enclosure);
    });

    /** There is one address for all pods: whoever comes next has it only if it was released. */
    async function nextPodHasIt(): Promise<void> {
      expect(traces(enclosure)).toEqual(before);
      const next = await containerd.runPod("next");
      expect(next.ips).toEqual([onlyIp]);
      await containerd.removePod(next.id);
      expect(traces(enclosure)).toEqual(before);
    }

    const deaths: Record<string, (pod: Sandbox) => Promise<void>> = {
      "containerd was killed and started again": async () => {
        await containerd.kill();
        await containerd.start();
      },
      "the pod's shim was killed": async ({ id }) => void killShim(id),
      "both were killed": async ({ id }) => {
        await containerd.kill();
        killShim(id);
        await containerd.start();
      },
      "the pod's namespace has gone": async ({ netns }) => {
        enclosure.node.script([`umount ${netns}`, `rm ${netns}`]);
      },
    };

    test.each(Object.entries(deaths))("%s: removing the pod releases all it had", async (_, die) => {
      const pod = await containerd.runPod("mortal");
      expect(pod.ips).toEqual([onlyIp]);
      await containerd.runContainer(pod);
      await die(pod);
      await containerd.removePod(pod.id);
      await nextPodHasIt();
    });

    test("a plugin behind us was killed: containerd takes the ADD back, and so do we", async () => {
      const held = await holdAdd(enclosure, () => containerd.runPod("held"));
      expect(traces(enclosure).attachments).toHaveLength(1);
      held.killPlugin();
      expect(await held.outcome).toMatch(/plugin type=.*gate.* failed \(add\)/);
      await nextPodHasIt();
    });

    test("containerd was killed while ADD ran: removing what it had begun releases all of it", async () => {
      const held = await holdAdd(enclosure, () => containerd.runPod("begun"));
      // With all its group, as a service manager does it: the plugin goes too.
      await containerd.kill();
      held.openGate();
      expect(await held.outcome).toContain("RunPodSandbox from runtime service failed");
      await containerd.start();
      expect(traces(enclosure).attachments).toHaveLength(1);
      await containerd.removePod(await containerd.crictl("pods", "--quiet"));
      await nextPodHasIt();
    });
  });

  const killShim = (id: string) =>
    enclosure.node.must(["pkill", "-KILL", "-f", `^/usr/bin/containerd-shim-runc-v2 .*-id ${id} `]);
});
