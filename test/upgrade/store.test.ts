// A store that this wg-cni has migrated, and the previous one: it refuses the store in words, its DEL completes, the
// tunnels go on, and this one finds the store whole. The way back is the store of before the upgrade.
import { beforeAll, expect, test } from "bun:test";
import { addressing, wgJson, wgMust } from "../kernel/support/mesh-reference.ts";
import { call, refuse } from "../kernel/support/plugin.ts";
import { rows } from "../kernel/support/reference.ts";
import type { Agent } from "../lab/agent.ts";
import { joinByRecords } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import { binary } from "../lab/paths.ts";
import type { Pod } from "../lab/pod.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeUpgrade, previous } from "./support/gate.ts";
import { attach, detach, encrypts, lostWhile, network, replace } from "./support/nodes.ts";

const store = "/var/lib/wg-cni";
const saved = "/var/lib/wg-cni.saved";
/** What a stack trace has in each line. */
const trace = /\n\s+at /;
/** Prints how many peers have no checksum. */
const query = [
  process.execPath,
  "-e",
  `import { Database } from "bun:sqlite";
   const db = new Database("${store}/state.db");
   console.log(db.query("SELECT count(*) AS count FROM peers WHERE sum = ''").get().count);`,
];
const plugin = { type: "wg-cni", name: "pods", cniVersion: "1.1.0" };

describeUpgrade("the previous wg-cni and a store that this one has migrated", () => {
  const lab = withLab("downgrade");
  let node: Node;
  let peer: Node;
  let pods: Pod[];
  let agent: Agent;
  let peerAgent: Agent;

  beforeAll(async () => {
    node = await lab.node("n1", { ...addressing(1), executable: previous });
    peer = await lab.node("n2", { ...addressing(2), executable: binary });
    [agent, peerAgent] = (await joinByRecords([node, peer])).agents as [Agent, Agent];
    pods = [await attach(node, "stays"), await attach(peer, "stays")];
    await encrypts(pods);
  }, 120_000);

  const ownKeys = () => node.must(["wg", "show", "all", "public-key"]);
  test("plugin before agent: an ADD of this one beside the previous agent does its call itself, and the agents' change of hands loses nothing", async () => {
    const lost = await lostWhile(lab, pods, async () => {
      node.install(binary);
      const early = await attach(node, "early");
      // The previous agent writes into the store that was migrated under it, and knows no checksums.
      const from = peerAgent.lines().length;
      await wgJson(peer, ["key", "rotate"]);
      await peerAgent.waitFor("the rotation is done", 60_000, from);
      await waitUntil(() => node.must(query).trim() === "1", { what: "a row of the previous agent" });
      await agent.stop();
      expect((await node.wg(["peer", "list"])).stderr).toBe("");
      agent = await node.agent();
      await encrypts(pods);
      expect(agent.lines().filter(({ level }) => level === "error")).toEqual([]);
      await detach(early);
    });
    expect(lost).toEqual({});
    expect(rows(node).attachments).toHaveLength(1);
  });

  test("the previous agent, commands, ADD and GC refuse it in words; DEL completes; nothing is lost; this one finds it whole", async () => {
    const [keys, ending, later] = [ownKeys(), await attach(node, "ending"), node.pod("later")];
    const lost = await lostWhile(lab, pods, async () => {
      node.install(previous);
      // Plugin and agent are of different builds: the previous plugin gets no answer from this agent's server.
      expect(await refuse(node, "ADD", plugin, later)).toMatchObject({ code: expect.any(Number) });
      await agent.stop();
      for (const command of [["agent"], ["status"], ["sync"], ["peer", "list"]]) {
        const { exitCode, stdout, stderr } = await node.wg(command);
        const refusal = expect.stringContaining("Install the newer wg-cni again");
        expect([command, exitCode, stderr + stdout]).toEqual([command, 1, refusal]);
        expect(stderr + stdout).not.toMatch(trace);
      }
      const prevResult = { cniVersion: "1.1.0", ips: [{ address: "10.244.1.77/32" }] };
      const add = await refuse(node, "ADD", { ...plugin, prevResult }, later);
      expect(add).toMatchObject({ code: 5, msg: expect.stringContaining("Install the newer wg-cni again") });
      expect(JSON.stringify(add)).not.toMatch(trace);
      const gc = await refuse(node, "GC", { ...plugin, "cni.dev/valid-attachments": [] });
      expect(gc).toMatchObject({ code: 5, msg: expect.stringContaining("Install the newer wg-cni again") });
      await detach(ending);
      node.install(binary);
      agent = await node.agent();
      await encrypts(pods);
    });
    expect(lost).toEqual({});
    expect(ownKeys()).toBe(keys);
    const { json } = await call(node, "GC", {
      ...plugin,
      "cni.dev/valid-attachments": [{ containerID: pods[0]?.containerID, ifname: "eth0" }],
    });
    expect(json).toEqual({});
    expect(rows(node).attachments).toMatchObject([{ container_id: pods[0]?.containerID }]);
    await node.runtime.check(network(node), pods[0] as Pod);
  });
});

describeUpgrade("a downgrade with the store of before the upgrade", () => {
  const lab = withLab("way-back");
  let node: Node;
  let pods: Pod[];
  let agent: Agent;
  let recordsDir: string;

  beforeAll(async () => {
    node = await lab.node("n1", { ...addressing(1), executable: previous });
    const peer = await lab.node("n2", { ...addressing(2), executable: binary });
    const mesh = await joinByRecords([node, peer]);
    agent = mesh.agents[0] as Agent;
    recordsDir = mesh.recordsDir;
    pods = [await attach(node, "stays"), await attach(peer, "stays")];
    await encrypts(pods);
  }, 120_000);

  const recordedKeys = async () => {
    const { slots } = await wgJson<{ slots: readonly { publicKey: string }[] }>(node, ["node", "show"]);
    return slots.map(({ publicKey }) => publicKey).sort();
  };
  const kernelKeys = () => {
    const lines = node.must(["wg", "show", "all", "public-key"]).trim().split("\n");
    return lines.map((line) => line.split("\t")[1]).sort();
  };

  test("loses nothing; keys that the previous one makes after it are those that this one has then", async () => {
    const lost = await lostWhile(lab, pods, async () => {
      await agent.stop();
      node.script([`cp -a ${store} ${saved}`]);
      node.install(binary);
      agent = await node.agent();
      await encrypts(pods);
      // Now identity.json is newer than the copy of the store.
      const more = ["--records-dir", recordsDir, "--pod-cidr", "10.250.1.0/24"];
      await wgMust(node, ["up", ...node.upArguments, ...more]);
      await agent.stop();
      node.install(previous);
      node.script([`rm -f ${store}/state.db*`, `cp -a ${saved}/state.db* ${store}/`]);
      agent = await node.agent();
      await encrypts(pods);
      const from = agent.lines().length;
      await wgJson(node, ["key", "rotate"]);
      await agent.waitFor("the rotation is done", 60_000, from);
      const keys = await recordedKeys();
      agent = await replace(node, agent, binary);
      await encrypts(pods);
      expect(await recordedKeys()).toEqual(keys);
      expect(kernelKeys()).toEqual(keys);
    });
    expect(lost).toEqual({});
    for (const pod of pods) await detach(pod);
  });
});
