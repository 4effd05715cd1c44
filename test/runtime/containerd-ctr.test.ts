// `ctr run --cni`: containerd's own client calls the plugins itself, with the
// usual directories, for a container that is no pod of Kubernetes.

import { beforeAll, describe, expect, test } from "bun:test";
import type { Pod } from "../lab/pod.ts";
import type { ConfList } from "../lab/runtime.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { Containerd } from "./support/containerd.ts";
import { Context } from "./support/context.ts";
import type { Enclosure } from "./support/enclosure.ts";
import { describeRuntime } from "./support/gate.ts";
import { imageName } from "./support/image.ts";
import { sample, standalone, writeNetwork } from "./support/networks.ts";
import { traces } from "./support/reference.ts";

describeRuntime("containerd", "ctr run --cni", () => {
  const lab = withLab("ctr", { hasControlGroup: true });
  let context: Context;
  let enclosure: Enclosure;
  let remote: Pod;

  beforeAll(async () => {
    context = await Context.create(lab, { nodes: 2 });
    enclosure = context.enclosure;
    await Containerd.create(enclosure, context.archive);
    remote = await context.remotePod();
  });

  const networks: Record<string, () => ConfList> = {
    chained: () => sample("10-ptp"),
    standalone: () => standalone(),
  };

  describe.each(Object.entries(networks))("%s", (name, network) => {
    test("gives the container its network, encrypted, and takes it away when it ends", async () => {
      writeNetwork(enclosure, network());
      const before = traces(enclosure);
      // No share of the processor: not every machine has a controller for it.
      const container = enclosure.start([
        "ctr",
        "run",
        "--cni",
        "--rm",
        "--cpu-shares",
        "0",
        imageName,
        name,
      ]);
      const runs = new RegExp(`^${name} .*RUNNING`, "m");
      const isRunning = () => runs.test(enclosure.must(["ctr", "task", "ls"]));
      await waitUntil(isRunning, { what: `container ${name} runs`, everyMs: 50 });
      expect(traces(enclosure).attachments).toHaveLength(1);
      const exec = ["ctr", "task", "exec", "--exec-id", "ping", name];
      const capture = await lab.capture();
      const pinged = enclosure.must([...exec, "ping", "-c", "2", "-i", "0.2", "-W", "5", remote.ip(4)]);
      expect(pinged).toContain(" 0% packet loss");
      expect((await capture.tally()).packets).toMatchObject({ plaintext: 0, wireguard: expect.any(Number) });
      await capture.stop();
      enclosure.must(["ctr", "task", "kill", "--signal", "SIGKILL", name]);
      await container.finished;
      expect(traces(enclosure)).toEqual(before);
    });
  });
});
