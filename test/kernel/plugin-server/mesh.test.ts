// The server and a mesh: an ADD that has to program it first is left to the plugin's process, and one whose answer
// waits for the other nodes keeps no other call waiting.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { joinMesh } from "../../lab/mesh.ts";
import type { Running } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { wgMust } from "../support/mesh-reference.ts";
import { succeed } from "../support/plugin.ts";
import { linkNames, noRows, rows } from "../support/reference.ts";
import { Client } from "./support.ts";

const conf = {
  ...{ cniVersion: "1.1.0", name: "pods", type: "wg-cni" },
  ipam: { ranges: [[{ subnet: "10.244.1.0/24" }]] },
};
const device = "wg-cni-a";

describeKernel("the plugin server of a node in a mesh", () => {
  const lab = withLab("server-mesh");
  let node: Node;
  let pod: Pod;
  let lock: Running | undefined;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: ["10.244.1.0/24"] });
    await joinMesh([node]);
    await node.servePlugin();
  });
  beforeEach(() => {
    pod = node.pod(`p${node.pods.length}`);
  });
  afterAll(async () => {
    await lock?.closeInput();
  });

  const ask = (): string[] => {
    using client = new Client(node);
    client.send(client.callFor("ADD", conf, pod), pod);
    return client.rest().kinds;
  };
  const loseDevice = () => node.must(["ip", "link", "delete", device]);

  test("without an agent, the process of an ADD programs what is missing", async () => {
    loseDevice();
    expect(ask()).toEqual(["hello", "declined"]);
    await succeed(node, "ADD", conf, pod);
    expect(linkNames(node)).toContain(device);
    await succeed(node, "DEL", conf, pod);
  });

  test("beside an agent, an ADD leaves the mesh to it, but in strict mode", async () => {
    // What an agent holds as long as it runs.
    lock = node.start(["flock", `${node.stateDir}/agent.lock`, "cat"], { interactive: true });
    loseDevice();
    await waitUntil(() => node.exec(["flock", "-n", `${node.stateDir}/agent.lock`, "true"]).exitCode !== 0, {
      what: "the lock",
    });
    expect(ask()).toEqual(["hello", "stdout", "exit"]);
    expect(linkNames(node)).not.toContain(device);
    await succeed(node, "DEL", conf, pod);
    await wgMust(node, ["up", "--mode", "strict"]);
    loseDevice();
    expect(ask()).toEqual(["hello", "declined"]);
    await wgMust(node, ["up", "--mode", "permissive"]);
  });

  test("an ADD that waits for the other nodes keeps no call waiting, and is taken back if its caller goes", async () => {
    // The agent whose lock is held announces nothing.
    await wgMust(node, ["up", "--pod-addresses", "pods", "--publish-wait", "1"]);
    {
      using gone = new Client(node);
      gone.send(gone.callFor("ADD", conf, pod), pod);
      await waitUntil(() => rows(node).attachments.length === 1, { what: "the pod" });
      const other = node.pod("other");
      const { milliseconds } = await succeed(node, "DEL", conf, other);
      expect(milliseconds).toBeLessThan(1000);
    }
    await waitUntil(() => rows(node).attachments.length === 0, { what: "the pod of nobody to end" });
    expect(rows(node)).toEqual(noRows);
    expect(linkNames(pod)).toEqual(["lo"]);
  });

  test("a pod that was begun again while the first answer waited stays", async () => {
    {
      using gone = new Client(node);
      gone.send(gone.callFor("ADD", conf, pod), pod);
      await waitUntil(() => rows(node).attachments.length === 1, { what: "the pod" });
    }
    await succeed(node, "DEL", conf, pod);
    // Its answer comes after the first one would have.
    await succeed(node, "ADD", conf, pod);
    await succeed(node, "STATUS", conf);
    expect(rows(node).attachments).toHaveLength(1);
    expect(linkNames(pod)).toEqual(["eth0", "lo"]);
  });
});
