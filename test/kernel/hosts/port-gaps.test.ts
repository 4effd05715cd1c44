// What a node says about the UDP ports of a pair: of two nodes with open firewalls nothing, and of a firewall
// that lets in one port only, or only answers, the peer, the port and the direction.
//
//   n1, n4: no firewall        n2: drops udp dport 51821        n3: admits only answers to both ports
import { beforeAll, expect, test } from "bun:test";
import type { PortGap } from "../../../src/plan/report/port-evidence.ts";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode } from "../support/mesh-reference.ts";

/** A node without any firewall is ready after some seconds; a slot that lacks a handshake is tried for 30 s. */
const settleMs = 60_000;
const drop = [
  "nft add table inet block",
  "nft 'add chain inet block input { type filter hook input priority 0; }'",
];

describeKernel("ports of a pair of nodes", () => {
  const lab = withLab("ports");
  let nodes: readonly Node[];
  let agents: readonly Agent[];

  beforeAll(async () => {
    const [n1, n2, n3, n4] = [
      await addNode(lab, 1),
      await addNode(lab, 2),
      await addNode(lab, 3),
      await addNode(lab, 4),
    ];
    nodes = [n1, n2, n3, n4];
    n2.script([...drop, "nft add rule inet block input udp dport 51821 drop"]);
    n3.script([
      ...drop,
      "nft add rule inet block input ct state established,related accept",
      "nft add rule inet block input udp dport { 51820, 51821 } drop",
    ]);
    ({ agents } = await joinByRecords(nodes));
  }, 90_000);

  const gapsOf = async (node: Node) => {
    const { stdout } = await node.wg(["status", "--json"]);
    const { agent } = JSON.parse(stdout) as Status;
    return (agent.portGaps ?? []).map(({ peer, port, direction }) => `${peer} ${port} ${direction}`).sort();
  };
  const expected = [
    ["n2 51821 both"],
    ["n1 51821 both", "n3 51821 both", "n4 51821 both"],
    ["n1 51820 in", "n1 51821 in", "n2 51820 in", "n2 51821 both", "n4 51820 in", "n4 51821 in"],
    ["n2 51821 both"],
  ];

  test(
    "each node names exactly what it does not receive, and nothing about a pair that is open",
    async () => {
      let now: readonly string[][] = [];
      const look = async () => {
        now = await Promise.all(nodes.map(gapsOf));
        return Bun.deepEquals(now, expected);
      };
      await waitUntil(look, { what: () => JSON.stringify(now), timeoutMs: settleMs, everyMs: 500 }).catch(
        () => {},
      );
      expect(now).toEqual(expected);
    },
    settleMs + 30_000,
  );

  test("an agent that is restarted knows at once what has arrived, and what has not", async () => {
    const [node, agent] = [nodes[3] as Node, agents[3] as Agent];
    await agent.stop();
    await node.agent();
    const hasPassed = async () => {
      const { stdout } = await node.wg(["status", "--json"]);
      return (JSON.parse(stdout) as Status).agent.lastPassAtMs !== undefined;
    };
    await waitUntil(hasPassed, { what: "the first pass of the new agent" });
    expect(await gapsOf(node)).toEqual(expected[3] as string[]);
  }, 60_000);
});

interface Status {
  readonly agent: { readonly lastPassAtMs?: number; readonly portGaps?: readonly PortGap[] };
}
