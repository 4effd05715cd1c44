// The networks that strict mode refuses to pods must not cut off the node itself: a network in the table of
// hosts that contains the node, its gateway and all other nodes affects forwarded packets, and neither this
// node's own processes nor the encrypted packets.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import { gateways } from "../../lab/lab.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels, setReversePath } from "../support/hosts.ts";
import { addNode, tables } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
const everything = { 4: ["192.0.2.0/24", "10.0.0.0/8"], 6: ["2001:db8::/64", "fd00::/8"] } as const;

describeKernel("a refused network that holds nodes", () => {
  setDefaultTimeout(120_000);
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;
  let agents: readonly Agent[] = [];
  // A process that waits for a frozen one does not end with it.
  afterAll(() => {
    for (const agent of agents) agent.thaw();
  });
  const lab = withLab("refused");

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    ({ agents } = await joinByRecords([n1, n2], { upOptions: ["--mode", "strict"] }));
    [p1, p2] = (await addPods([n1, n2])) as [Pod, Pod];
    await awaitTunnels([n1, n2]);
    // They would take away what the test adds.
    for (const agent of agents) agent.freeze();
  });

  const refuse = (table: number, does: "add" | "delete") => {
    const lines = families.flatMap((family) => [
      ...everything[family].map(
        (cidr) => `ip -${family} route ${does} prohibit ${cidr} table ${table} metric 2000`,
      ),
      // As they stand beside every such network: this node's own pods are known.
      ...(table === tables.hosts
        ? [`ip -${family} route ${does} throw ${p1.ip(family)} table ${table}`]
        : []),
    ]);
    n1.script(lines);
  };
  const answered = async (pairs: readonly (readonly [Namespaces, Node | Pod | typeof gateways])[]) => {
    const counts: number[] = [];
    for (const [from, to] of pairs)
      for (const family of families) {
        const ip = "ip" in to ? to.ip(family) : to[family];
        counts.push((await ping(from, ip as string, { count: 1 })).received);
      }
    return counts;
  };

  for (const filter of [0, 1, 2])
    test(`rp_filter ${filter}: the node reaches its gateway and its peers, and the tunnel works`, async () => {
      setReversePath(n1, filter);
      refuse(tables.hosts, "add");
      const all = await answered([
        [n1, gateways],
        [n1, n2],
        [n2, n1],
        [p1, p2],
        [n1, p2],
        [p1, n2],
        [n2, p1],
        [n1, p1],
      ]);
      // It does bind: the gateway is no peer.
      const bound = await answered([[p1, gateways]]);
      refuse(tables.hosts, "delete");
      expect(all).toEqual(all.map(() => 1));
      expect(bound).toEqual([0, 0]);
    });

  test("the control: in the table that all packets meet, it cuts the node off", async () => {
    refuse(tables.pods, "add");
    const cut = await answered([
      [n1, gateways],
      [n1, n2],
    ]);
    refuse(tables.pods, "delete");
    expect(cut).toEqual([0, 0, 0, 0]);
  });
});
