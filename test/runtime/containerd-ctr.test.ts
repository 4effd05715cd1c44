// `ctr run --cni`: containerd's own client calls the plugins itself, with the
// usual folders, for a container that is no pod of Kubernetes.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Lab } from "../lab/lab.ts";
import { joinMesh } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import type { Pod } from "../lab/pod.ts";
import type { ConfList } from "../lab/runtime.ts";
import { waitUntil } from "../lab/wait.ts";
import { Containerd } from "./support/containerd.ts";
import { Enclosure } from "./support/enclosure.ts";
import { describeRuntime } from "./support/gate.ts";
import { imageName, writeImage } from "./support/image.ts";
import { kindnet, rangesOf, standalone, writeNetwork } from "./support/networks.ts";
import { traces } from "./support/witness.ts";

describeRuntime("containerd", "ctr run --cni", () => {
  let lab: Lab;
  let enclosure: Enclosure;
  let node: Node;
  let remote: Pod;

  beforeAll(async () => {
    lab = await Lab.create("ctr", { hasControlGroup: true });
    const archive = `${lab.sharedFolder}/image.tar`;
    writeImage(archive);
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: ["10.244.1.0/24"] });
    const other = await lab.node("n2", { ip4: "192.0.2.2", podCidrs: ["10.244.2.0/24"] });
    enclosure = Enclosure.create(lab, node);
    await Containerd.create(enclosure, archive);
    await joinMesh(lab.nodes);
    remote = other.pod("remote");
    await other.runtime.add(standalone(), remote);
  });
  afterAll(() => lab?.[Symbol.dispose]());

  const networks: Record<string, () => ConfList> = {
    chained: () => kindnet(rangesOf(node)),
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
      const hasAddress = () => traces(enclosure).attachments.length === 1;
      await waitUntil(hasAddress, { what: `container ${name} is attached`, everyMs: 100 });
      const exec = ["ctr", "task", "exec", "--exec-id", "ping", name];
      const capture = await lab.capture();
      const pinged = enclosure.must([...exec, "ping", "-c", "2", "-i", "0.2", "-W", "5", remote.ip(4)]);
      expect(pinged).toContain(" 0% packet loss");
      expect((await capture.tally()).packets).toMatchObject({ clear: 0, wireguard: expect.any(Number) });
      await capture.stop();
      enclosure.must(["ctr", "task", "kill", "--signal", "SIGKILL", name]);
      await container.finished;
      expect(traces(enclosure)).toEqual(before);
    });
  });
});
