// The agent and its plugin server: a server runs while the agent does, and whatever ends while calls run,
// each call succeeds or fails cleanly, no address is given twice, and nothing is left.
import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { Agent } from "../../lab/agent.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { socketPath } from "../plugin-server/support.ts";
import { describeKernel } from "../support/gate.ts";
import { call, succeed } from "../support/plugin.ts";
import { noRows, rows, snapshot } from "../support/reference.ts";

const conf = { cniVersion: "1.1.0", name: "pods", type: "wg-cni", ipam: {} };
const pods = 200;

describeKernel("an agent's plugin server", () => {
  const lab = withLab("agent-server");
  let node: Node;
  let agent: Agent;
  beforeAll(async () => {
    node = await lab.node("n1", {
      ...{ ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"] },
    });
    await joinMesh([node]);
    agent = await node.agent({ args: ["--log-level", "debug"] });
  });

  const serverPid = async () =>
    Number(await waitUntil(() => agent.children()[0], { what: "a child of the agent" }));
  const isListening = () => existsSync(socketPath(node));

  test("pods that come and go need no pass, and a pod's route that another process deletes is restored", async () => {
    await waitUntil(isListening, { what: "the first server" });
    const [stays, ...others] = Array.from({ length: 6 }, (_, i) => node.pod(`passing${i}`));
    const { json } = await succeed(node, "ADD", conf, stays);
    const ip = json.ips?.[0]?.address ?? "";
    const from = agent.lines().length;
    for (const verb of ["ADD", "DEL"] as const)
      await Promise.all(others.map((pod) => succeed(node, verb, conf, pod)));
    node.must(["ip", "route", "delete", "throw", ip, "table", "18099"]);
    await agent.waitFor(({ first }) => String(first).includes(`throw ${ip}`), undefined, from);
    // The first pod brings a table of nftables, which has a pass.
    const passes = agent
      .lines()
      .slice(from)
      .filter(({ message }) => message === "reconciled");
    expect(passes.filter(({ reason }) => String(reason).includes("route"))).toHaveLength(1);
    await succeed(node, "DEL", conf, stays);
  });

  test("it is started again when it ends, and calls succeed meanwhile", async () => {
    await waitUntil(isListening, { what: "the first server" });
    const first = await serverPid();
    process.kill(first, "SIGKILL");
    const pod = node.pod("meanwhile");
    await succeed(node, "ADD", conf, pod);
    await succeed(node, "DEL", conf, pod);
    await agent.waitFor(({ level, message }) => level === "warn" && message.includes("plugin server"));
    expect(await serverPid()).not.toBe(first);
  });

  test("it ends with an agent that is killed, and the next agent has one of its own", async () => {
    const server = await serverPid();
    await agent.kill();
    await waitUntil(() => !existsSync(`/proc/${server}`), { what: "the server's end" });
    expect(isListening()).toBe(false);
    agent = await node.agent();
    await waitUntil(isListening, { what: "the next server" });
  });

  test(`${pods} pods come and go while server and agent are killed`, async () => {
    const all = Array.from({ length: pods }, (_, i) => node.pod(`p${i}`));
    const before = snapshot(node);
    const adding = Promise.all(all.map((pod) => call(node, "ADD", conf, pod)));
    for (let i = 0; i < 3; i++) {
      await Bun.sleep(100);
      for (const pid of agent.children()) process.kill(pid, "SIGKILL");
    }
    await agent.kill();
    const answers = await adding;
    const added = answers.filter(({ exitCode }) => exitCode === 0);
    const ips = added.flatMap(({ json }) => json.ips?.map(({ address }) => address) ?? []);
    expect(ips).toHaveLength(2 * added.length);
    expect(new Set(ips).size).toBe(ips.length);
    // A call that was cut off between two of its steps finds its own half, and says so.
    for (const { exitCode, json } of answers) if (exitCode !== 0) expect(json.code).toBeGreaterThan(0);
    expect(added.length).toBeGreaterThan(pods / 2);
    agent = await node.agent();
    const deleting = Promise.all(all.map((pod) => succeed(node, "DEL", conf, pod)));
    await Bun.sleep(100);
    for (const pid of agent.children()) process.kill(pid, "SIGKILL");
    await deleting;
    expect(rows(node)).toEqual(noRows);
    // A sync that the agent began before may still write routes of pods that have gone; its next pass takes them away.
    await waitUntil(() => Bun.deepEquals(snapshot(node), before), {
      what: () => `nothing is left: ${snapshot(node).filter((line) => !before.includes(line))}`,
    });
  });
});
