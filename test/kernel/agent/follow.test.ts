// The agent follows changes by itself: the endpoint of a peer that answers, among
// several that do not, and the uplink's MTU, down to the pods that are there.
import { beforeAll, expect, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, ipJson, wgDump, wgJson, wgMust } from "../support/mesh-reference.ts";

/** Two endpoints that do not answer have ten seconds each, and a handshake may need a second try. */
const candidatesMs = 60_000;
const followMs = 20_000;

describeKernel("following", () => {
  const lab = withLab("follow");
  let n1: Node;
  let n2: Node;
  let agent: Agent;
  let pod: Pod;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    for (const node of [n1, n2]) await wgMust(node, ["up", ...node.upArguments]);
    agent = await n1.agent();
    pod = n1.pod("p1");
    await n1.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
  }, 60_000);
  const take = async (to: Node, from: Node, change: Partial<NodeRecord> = {}) => {
    const record = await wgJson<NodeRecord>(from, ["node", "show"]);
    await wgMust(to, ["peer", "import", "-"], { stdin: JSON.stringify({ ...record, ...change }) });
    return record;
  };
  const mtuOf = (dev: string) => ipJson<{ mtu: number }>(n1, "link", "show", "dev", dev)[0]?.mtu;

  test("endpoints are tried in turn, and the one with a handshake is kept", async () => {
    // Node 2 knows node 1, but has nothing to send: it does not begin.
    await take(n2, n1);
    const { slots } = await take(n1, n2, { endpoints: ["192.0.2.98", "192.0.2.99", "192.0.2.2"] });
    await agent.waitFor("handshake succeeded", candidatesMs);
    const key = slots[0]?.publicKey ?? "";
    expect(wgDump(n1)["wg-cni-a"]?.peers[key]?.endpoint).toBe("192.0.2.2:51820");
    // A later sync leaves it there.
    await wgMust(n1, ["sync"]);
    expect(wgDump(n1)["wg-cni-a"]?.peers[key]?.endpoint).toBe("192.0.2.2:51820");
  }, 90_000);

  test("the uplink's MTU is followed by the devices and by pods that are there, both ways", async () => {
    const before = mtuOf("wg-cni-a");
    expect(before).toBe(1440);
    for (const uplink of [1400, 1500]) {
      n1.must(["ip", "link", "set", "eth0", "mtu", `${uplink}`]);
      await waitUntil(() => mtuOf("wg-cni-a") === uplink - 60 && mtuOf("wg-cni-b") === uplink - 60, {
        what: `devices of ${uplink - 60} bytes`,
        timeoutMs: followMs,
      });
      await waitUntil(() => pod.must(["ip", "link", "show", "eth0"]).includes(`mtu ${uplink - 60} `), {
        what: `a pod's interface of ${uplink - 60} bytes`,
        timeoutMs: followMs,
      });
      const status = await wgJson<{ mtu: { reason: string } }>(n1, ["status"]);
      expect(status.mtu.reason).toMatch(
        new RegExp(`eth0 towards 192\\.0\\.2\\.\\d+ \\(node n2\\) has ${uplink},`),
      );
    }
    // The largest packet passes whole: 1440 less the headers of IPv4 and ICMP.
    n2.script([
      "ip link add pod0 type bridge",
      "ip address add 10.244.2.9/32 dev pod0",
      "ip link set pod0 up",
    ]);
    expect(await ping(pod, "10.244.2.9", { size: 1412, dontFragment: true })).toMatchObject({ received: 3 });
    await agent.stop();
  }, 90_000);
});
