// Connections whose addresses are translated on the way: masquerade of what pods send out
// of their network (kindnet, flannel, k3s), and ports of a node that lead to pods and to
// processes of other nodes (kube-proxy, portmap), as other people's nftables rules make
// them. Whatever the reverse-path filter says: each is answered, and nothing of it can be
// read between the nodes.
//
//   n1: the node ports ──┬── n2: backends, pod and host
//                        ├── n3: another node's clients, pod and host
//                        └── the wire: a client outside of the mesh
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Family } from "../../../src/net/ip.ts";
import type { Capture } from "../../lab/capture.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { http, serveHttp } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels, setReversePath } from "../support/hosts.ts";
import { addNode, wgJson, wgMust } from "../support/mesh-reference.ts";
import { backendPort, nodePorts, translate } from "../support/translation.ts";

const families = [4, 6] as const;
/** In every request and every answer. */
const secret = "readable-to-all";

interface TranslatedRoute {
  readonly name: string;
  readonly from: Namespaces;
  readonly to: string;
  readonly port: number;
}

describeKernel("translated connections", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("translated");
  let nodes: Node[];
  let pods: Pod[];

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)];
    await joinByRecords(nodes);
    pods = await addPods(nodes);
    await Promise.all([...nodes, ...pods].map((space) => serveHttp(space, secret, [backendPort])));
    for (const [i, node] of nodes.entries())
      translate(node, { pod: pods[i] as Pod, remote: { node: nodes[1] as Node, pod: pods[1] as Pod } });
    await awaitTunnels(nodes);
  });
  const ways = (family: Family): TranslatedRoute[] => {
    const [n1, n2, n3] = nodes as [Node, Node, Node];
    const [p1, p2, p3] = pods as [Pod, Pod, Pod];
    const address = (of: Node | Pod) => of.ip(family) as string;
    const ports = Object.entries(nodePorts).flatMap(([to, port]) =>
      // A pod that reaches itself needs a masquerade.
      [n2, n3, p2, p3, lab.wire, ...(port === nodePorts["own pod, local"] ? [] : [p1])].map((from) => ({
        name: `${from.label} -> node port of n1 -> ${to}`,
        ...{ from, to: address(n1), port },
      })),
    );
    return [
      { name: "masqueraded pod -> other node", from: p1, to: address(n2), port: backendPort },
      { name: "masqueraded pod -> other node, back", from: p2, to: address(n1), port: backendPort },
      { name: "pod -> pod", from: p1, to: address(p3), port: backendPort },
      { name: "host -> pod", from: n3, to: address(p1), port: backendPort },
      ...ports,
    ];
  };
  /** The packets between nodes, or with a pod's address, that the secret can be read in. */
  const readable = async (capture: Capture) =>
    (await capture.packets())
      .filter((packet) => ["plaintext", "host"].includes(capture.kindOf(packet)))
      .filter(({ bytes }) => Buffer.from(bytes).includes(secret))
      .map(
        ({ source, sourcePort, destination, destinationPort }) =>
          `${source}.${sourcePort} > ${destination}.${destinationPort}`,
      );

  /** One try of each way; in words, those that failed. */
  const tryAll = async (): Promise<string[]> => {
    const failed: string[] = [];
    for (const family of families)
      for (const { name, from, to, port } of ways(family)) {
        const { ok, text } = await http(from, to, 2, port, `/${secret}`);
        if (!ok || text !== secret) failed.push(`IPv${family} ${name}: ${text}`);
      }
    return failed;
  };
  const setUp = async (mode: string, filter: number, some = nodes) => {
    for (const node of some) {
      setReversePath(node, filter);
      await wgMust(node, ["up", "--mode", mode]);
    }
  };

  for (const mode of ["permissive", "strict"])
    for (const filter of [1, 2, 0])
      test(`${mode}, rp_filter ${filter}: all are answered, and none can be read between the nodes`, async () => {
        await setUp(mode, filter);
        const capture = await lab.capture();
        const failed = await tryAll();
        const seen = await readable(capture);
        await capture.stop();
        expect({ failed, seen }).toEqual({ failed: [], seen: [] });
      });

  test("while one node does not encrypt, whichever it is, all are answered", async () => {
    for (const node of nodes) {
      await setUp("permissive", 1);
      await setUp("off", 1, [node]);
      expect([node.name, await tryAll()]).toEqual([node.name, []]);
    }
    await setUp("permissive", 1);
  });

  test("an ICMP error about a translated packet comes by the tunnel, too", async () => {
    const [, n2] = nodes as [Node, Node];
    const [p1] = pods as [Pod];
    for (const mode of ["permissive", "strict"]) {
      await setUp(mode, 1);
      const capture = await lab.capture();
      for (const family of families)
        for (const [from, ip] of [
          // A masqueraded pod and a closed port of another node; another node and a pod's.
          [p1, n2.ip(family)],
          [n2, p1.ip(family)],
        ] as const) {
          // The error is told at the next send.
          const send = `exec 3<>/dev/udp/${ip}/9; echo ${secret} >&3; for i in $(seq 50); do sleep 0.1; echo ${secret} >&3 || exit 7; done`;
          const { exitCode, stderr } = await from.run(["bash", "-c", send]);
          expect([mode, ip, exitCode, stderr]).toEqual([mode, ip, 7, expect.stringContaining("refused")]);
        }
      expect(await readable(capture)).toEqual([]);
      await capture.stop();
    }
  });

  test("without connection tracking (NOTRACK) what is lost is the way of a host's answers, and it is counted", async () => {
    const [n1, n2] = nodes as [Node, Node];
    const [p1] = pods as [Pod];
    await setUp("permissive", 0);
    n2.script([
      "nft add table inet untracked",
      "nft 'add chain inet untracked c { type filter hook prerouting priority raw; }'",
      "nft add rule inet untracked c ip saddr 192.0.2.1 notrack",
      "nft 'add chain inet untracked o { type filter hook output priority raw; }'",
      "nft add rule inet untracked o ip daddr 192.0.2.1 notrack",
    ]);
    const inPackets = async () =>
      (await wgJson<Status>(n1, ["status"])).peers.find(({ name }) => name === "n2")?.plaintext?.inPackets ??
      0;
    const before = await inPackets();
    const capture = await lab.capture();
    const answer = await http(p1, n2.ip(4) as string, 2, backendPort, `/${secret}`);
    n2.script(["nft delete table inet untracked"]);
    const seen = await readable(capture);
    await capture.stop();
    expect(answer).toEqual({ ok: true, text: secret });
    expect(seen.length).toBeGreaterThan(0);
    expect(await inPackets()).toBeGreaterThan(before);
  });
});

interface Status {
  readonly peers: readonly { readonly name: string; readonly plaintext?: { readonly inPackets: number } }[];
}
