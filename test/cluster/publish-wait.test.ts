// An ADD that waits until the other nodes can read of the pod's address, on a real API
// server: when it returns they can, or it says why not, and no pod waits for ever.
import { beforeAll, expect, test } from "bun:test";
import { prefixContains } from "../../src/net/prefix.ts";
import { addNode, wgMust } from "../kernel/support/mesh-reference.ts";
import type { Agent } from "../lab/agent.ts";
import type { Node } from "../lab/node.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { giveAccount, startAgent } from "./support/join.ts";
import { createNode, recordPath } from "./support/nodes.ts";
import { startTimeoutMs, withApiServer } from "./support/with-api-server.ts";

/** Two looks of the agent and a request, for each of many at once. */
const waitSeconds = 10;
const soonMs = 60_000;
/** Far above what an ADD takes on a busy machine, and below the wait. */
const atOnceMs = 8000;

describeKube("an ADD that waits for the publication", () => {
  const lab = withLab("publish");
  const server = withApiServer(lab, ["crd", "rbac", "policy", "mesh"]);
  let node: Node;
  let agent: Agent;
  let pods = 0;

  beforeAll(async () => {
    node = await addNode(lab, 1);
    await createNode(server.admin, node.name, { internalIPs: node.nodeIps });
    await giveAccount(server, node);
    agent = await startAgent(node, {
      args: ["--pod-addresses", "pods", "--publish-wait", `${waitSeconds}s`],
    });
    await agent.waitFor("this node's record is published", soonMs);
  }, startTimeoutMs);

  /** Returns the standard error of an ADD, and its duration. */
  async function add() {
    const pod = node.pod(`p${++pods}`);
    const conf = {
      cniVersion: "1.0.0",
      name: "pods",
      type: "wg-cni",
      ipam: { ranges: [[{ subnet: "10.60.0.0/24" }]] },
    };
    const { exitCode, stdout, stderr, milliseconds } = await node.runtime.plugin(
      "ADD",
      "wg-cni",
      JSON.stringify(conf),
      pod,
    );
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0 });
    const ip = (JSON.parse(stdout) as { ips: readonly { address: string }[] }).ips[0]?.address;
    return { ip, stderr, milliseconds };
  }
  const isPublished = async (ip = "") => {
    const { podCIDRs } = (await server.admin.get(recordPath(node.name)))["spec"];
    return podCIDRs.some((cidr: string) => prefixContains(cidr, ip));
  };

  test("returns when the API has the address, each time anew", async () => {
    for (let i = 0; i < 3; i++) {
      const { ip, stderr } = await add();
      // Not a moment later.
      expect({ ip, isPublished: await isPublished(ip), stderr }).toEqual({
        ip,
        isPublished: true,
        stderr: "",
      });
    }
  });

  test("many at once do, too", async () => {
    const added = await Promise.all(Array.from({ length: 8 }, add));
    for (const { ip, stderr } of added)
      expect({ ip, isPublished: await isPublished(ip), stderr }).toEqual({
        ip,
        isPublished: true,
        stderr: "",
      });
  });

  test("in an outage of the API it waits so long, starts the pod, and says what it lacks", async () => {
    await server.server.kill();
    const { ip, stderr, milliseconds } = await add();
    expect(milliseconds).toBeGreaterThanOrEqual(waitSeconds * 1000);
    const words = `cannot read the address ${ip?.split("/")[0]} yet, and do not encrypt to it: the agent has not announced it within ${waitSeconds} s`;
    expect(stderr).toContain(words);
    await server.server.start();
    await waitUntil(() => isPublished(ip), {
      what: "the address being published after all",
      timeoutMs: 2 * soonMs,
    });
  }, 300_000);

  test("without an agent it does not wait", async () => {
    await agent.stop();
    const { stderr, milliseconds } = await add();
    expect(stderr).toContain("no agent runs, which would announce it");
    expect(milliseconds).toBeLessThan(atOnceMs);
  });

  test("nor if it is off, as it is by default", async () => {
    await wgMust(node, ["up", "--publish-wait", "off"]);
    const { stderr, milliseconds } = await add();
    expect(stderr).toBe("");
    expect(milliseconds).toBeLessThan(atOnceMs);
  });
});
