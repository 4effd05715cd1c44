// Pods that were there before wg-cni, on nodes whose pods have addresses of the
// nodes' own network, as on AWS and Azure:
//
//   earlier pod 192.0.2.101 ─ eni-e1 ─┐                    ┌─ eni-e2 ─ earlier pod 192.0.2.102
//   later pod   192.0.2.111 ─ eni-l1 ─┤ n1 ── wire ── n2   ├─ eni-l2 ─ later pod   192.0.2.112
//                                     └ answers ARP and ND for its pods, with a /32 and a
//                                       /128 route to each
//
// Every uplink has strict reverse-path filtering. The witness of what is encrypted is a
// capture of the wire.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import type { Lab } from "../../lab/lab.ts";
import { knowsPeers, upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { type Flow, flow, losses, Streams } from "../../lab/stream.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, type HandMade, makeByHand, removeByHand } from "../support/by-hand.ts";
import { missing, wgJson, wgMust } from "../support/mesh-reference.ts";
import { call } from "../support/plugin.ts";

setDefaultTimeout(240_000);

const families = [4, 6] as const;
/** A handshake takes milliseconds, its reading a second, a first try that was lost five; two cores run all of it. */
const soonMs = 60_000;
/** Long enough for a hundred requests of each flow. */
const phaseMs = 2000;
/** The part of the nodes' network that pods have. */
const podPart = "192.0.2.96/27,2001:db8::100/120";

interface Shown {
  readonly pending: readonly string[];
  readonly peers: readonly { readonly state: string; readonly reach: string }[];
  readonly earlierPods: readonly { readonly ip: string; readonly dev: string }[];
  readonly unknownPods: readonly { readonly ip: string; readonly dev?: string }[];
}

interface Doctor {
  readonly findings: readonly { readonly check: string; readonly level: string }[];
}

/** `status` is 3 if something is still to be programmed. */
const shown = async (node: Node) => JSON.parse((await node.wg(["status", "--json"])).stdout) as Shown;
const announced = async (node: Node) => (await wgJson<NodeRecord>(node, ["node", "show"])).podCIDRs;
const announces = (node: Node, cidrs: readonly string[]) => {
  let last: readonly string[] = [];
  const isSo = async () => {
    last = await announced(node);
    return JSON.stringify(last) === JSON.stringify(cidrs);
  };
  return waitUntil(isSo, {
    what: () => `${node.name} announces ${cidrs}, and not ${last}`,
    timeoutMs: soonMs,
  });
};

/** As AWS's plugin leaves it: the node answers for the pod on the wire. */
function cloudPod(node: Node, name: string, number: number): { pod: Pod; made: HandMade } {
  const pod = node.pod(name);
  const ips = [
    { address: `192.0.2.${number}/32`, gateway: node.ip(4) as string },
    { address: `2001:db8::${number}/128`, gateway: "fe80::1" },
  ];
  pod.ips[4] = `192.0.2.${number}`;
  pod.ips[6] = `2001:db8::${number}`;
  return { pod, made: { hostDev: `eni-${name}`, ips } };
}

function afterwards(node: Node, { hostDev, ips }: HandMade): void {
  node.script([
    `ip address add fe80::1/64 dev ${hostDev} nodad`,
    `ip neighbour add proxy ${ips[1]?.address.split("/")[0]} dev eth0`,
  ]);
}

function makeEarlier(node: Node, name: string, number: number): Pod {
  const { pod, made } = cloudPod(node, name, number);
  makeByHand(pod, made);
  afterwards(node, made);
  return pod;
}

/** Attached by a main plugin and by ours behind it. */
async function attachLater(node: Node, name: string, number: number): Promise<Pod> {
  const { pod, made } = cloudPod(node, name, number);
  const prevResult = attachByHand(pod, "1.0.0", made);
  afterwards(node, made);
  const done = await call(
    node,
    "ADD",
    { type: "wg-cni", name: "pods", cniVersion: "1.0.0", prevResult },
    pod,
  );
  if (done.exitCode !== 0) throw new Error(`ADD of ${name}: ${done.stdout}${done.stderr}`);
  return pod;
}

async function cloudNode(lab: Lab, index: number): Promise<Node> {
  const node = await lab.node(`n${index}`, {
    ...{ ip4: `192.0.2.${index}`, ip6: `2001:db8::${index}`, podCidrs: [] },
  });
  node.strictReversePath();
  node.script([
    "echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp",
    "echo 0 >/proc/sys/net/ipv4/neigh/eth0/proxy_delay",
    "echo 1 >/proc/sys/net/ipv6/conf/eth0/proxy_ndp",
    "echo 0 >/proc/sys/net/ipv6/neigh/eth0/proxy_delay",
  ]);
  return node;
}

describe.skipIf(missing !== undefined)("pods that were there before us", () => {
  const lab = withLab("earlier");
  let capture: Capture;
  let nodes: [Node, Node];
  let agents: Agent[];
  let earlier: Pod[];
  const later: Pod[] = [];

  beforeAll(async () => {
    nodes = [await cloudNode(lab, 1), await cloudNode(lab, 2)];
    earlier = nodes.map((node, i) => makeEarlier(node, `e${i + 1}`, 101 + i));
    capture = await lab.capture();
  });
  const pods = () => [...earlier, ...later];
  /** Every pod with every one of the other node, with the other node, and each node with its own. */
  const flows = (): Flow[] =>
    families.flatMap((family) =>
      pods().flatMap((pod) => {
        const others = pods().filter(({ node }) => node !== pod.node);
        const otherNode = nodes.find((node) => node !== pod.node) as Node;
        const ends = [
          ...others.map((other) => [pod, other] as const),
          [pod, otherNode] as const,
          [otherNode, pod] as const,
          [pod.node, pod] as const,
        ];
        return ends.map(([from, to]) => ({ ...flow(from, to, family), echo: true }));
      }),
    );
  const inPlaintext = async (act: () => Promise<unknown>) => {
    const before = (await capture.packets()).length;
    await act();
    const ips = new Set(pods().flatMap((pod) => families.map((family) => pod.ip(family))));
    const isPod = (ip: string | undefined) => ip !== undefined && ips.has(ip);
    return (await capture.packets()).slice(before).filter(({ source, destination, icmpType = 0 }) => {
      // Neighbour discovery asks for pods, as ARP does.
      const isDiscovery = icmpType >= 130;
      return !isDiscovery && (isPod(source) || isPod(destination));
    }).length;
  };
  const setMode = (mode: string) => Promise.all(nodes.map((node) => wgMust(node, ["up", "--mode", mode])));
  const reached = (reach: string, state: RegExp) =>
    Promise.all(
      nodes.map((node) => {
        let last: Shown | undefined;
        const isSo = async () => {
          last = await shown(node);
          const isEach = last.peers.every((peer) => peer.reach === reach && state.test(peer.state));
          return last.pending.length === 0 && last.peers.length === 1 && isEach;
        };
        const what = () => `${node.name} has its peer ${reach}: ${JSON.stringify(last)}`;
        return waitUntil(isSo, { what, timeoutMs: soonMs });
      }),
    );

  test("control: without wg-cni all reach each other, readable", async () => {
    for (const family of families)
      expect(await ping(earlier[0] as Pod, (earlier[1] as Pod).ip(family))).toMatchObject({ received: 3 });
    const plaintext = await inPlaintext(() => ping(earlier[0] as Pod, (earlier[1] as Pod).ip(4)));
    expect(plaintext).toBeGreaterThan(0);
  });

  test("an agent that starts announces the pods that are there, and `status` and `doctor` tell them from its own", async () => {
    for (const node of nodes)
      await upWithRecords(node, ["--pod-addresses", "pods", "--mode", "off", "--cluster-cidrs", podPart]);
    agents = await Promise.all(nodes.map((node) => node.agent()));
    await Promise.all(nodes.map((node) => knowsPeers(node, nodes)));
    for (const [i, node] of nodes.entries()) {
      await announces(node, [`192.0.2.${101 + i}/32`, `2001:db8::${101 + i}/128`]);
      later.push(await attachLater(node, `l${i + 1}`, 111 + i));
      const all = [101 + i, 111 + i];
      await announces(node, [
        ...all.map((number) => `192.0.2.${number}/32`),
        ...all.map((number) => `2001:db8::${number}/128`),
      ]);
      const { earlierPods, unknownPods } = await shown(node);
      const dev = `eni-e${i + 1}`;
      expect([earlierPods, unknownPods]).toEqual([
        [
          { ip: `192.0.2.${101 + i}`, dev },
          { ip: `2001:db8::${101 + i}`, dev },
        ],
        [],
      ]);
      const { stdout } = await node.wg(["doctor", "--json"]);
      const { findings } = JSON.parse(stdout) as Doctor;
      expect(findings.find(({ check }) => check === "pods")?.level).toBe("ok");
    }
  });

  test("off, permissive, strict, and back: nothing is lost between earlier pods, later ones and hosts, and once encrypted nothing is readable", async () => {
    await reached("plaintext", /^ready$/);
    const streams = await Streams.start(flows(), { rate: 50 });
    expect(await inPlaintext(() => Bun.sleep(phaseMs))).toBeGreaterThan(0);
    const seen: Record<string, number> = {};
    for (const mode of ["permissive", "strict", "permissive"]) {
      await setMode(mode);
      await reached("tunnel", /^encrypted$/);
      seen[mode] = await inPlaintext(() => Bun.sleep(phaseMs));
    }
    await setMode("off");
    await reached("plaintext", /^ready$/);
    expect(losses(await streams.stop())).toEqual({});
    expect(seen).toEqual({ permissive: 0, strict: 0 });
  });

  test("a pod that comes without our plugin is announced, and one that goes is withdrawn", async () => {
    const [n1] = nodes;
    const before = await announced(n1);
    const guest = makeEarlier(n1, "guest", 120);
    await waitUntil(async () => (await announced(n1)).includes("192.0.2.120/32"), {
      what: "the guest is announced",
      timeoutMs: soonMs,
    });
    removeByHand(guest);
    await announces(n1, before);
    // A DEL of a pod that no ADD of ours knows finds nothing to do.
    const [e1] = earlier as [Pod];
    expect(await call(n1, "DEL", { type: "wg-cni", name: "pods", cniVersion: "1.0.0" }, e1)).toMatchObject({
      exitCode: 0,
    });
    expect(await announced(n1)).toEqual(before);
  });

  test("nothing else is taken for a pod", async () => {
    const [n1] = nodes;
    const before = await announced(n1);
    n1.script([
      // Secondary and virtual addresses, and kube-proxy's.
      "ip address add 192.0.2.31/24 dev eth0",
      "ip address add 192.0.2.32/32 dev lo",
      "ip link add kube-ipvs0 type bridge",
      "ip address add 198.18.0.10/32 dev kube-ipvs0",
      // A host on the wire with a route of its own.
      "ip route add 198.51.100.7/32 dev eth0",
      // A pair of which both ends are the node's.
      "ip link add pair0 type veth peer name pair1",
      "ip link set pair0 up",
      "ip link set pair1 up",
      "ip route add 198.51.100.8/32 dev pair0",
      // A further uplink, of a node that is itself a container: a network is behind it.
      "ip netns add elsewhere",
      "ip link add eth1 type veth peer name up netns elsewhere",
      "ip link set eth1 up",
      "ip address add 198.51.100.129/28 dev eth1",
      "ip route add 198.51.100.9/32 dev eth1",
      // Calico's and others' gateways.
      "ip link add gate0 type veth peer name up0 netns elsewhere",
      "ip link set gate0 up",
      "ip route add 169.254.1.1/32 dev gate0",
    ]);
    expect((await shown(n1)).earlierPods.map(({ dev }) => dev)).toEqual(["eni-e1", "eni-e1"]);
    await wgMust(n1, ["sync"]);
    expect(await announced(n1)).toEqual(before);
    n1.script(["ip link delete eth1", "ip link delete gate0", "ip netns delete elsewhere"]);
  });

  test("a hundred pods are announced before the first peer is, and a sync after it writes nothing", async () => {
    const node = await cloudNode(lab, 3);
    node.script([
      "ip netns add many",
      ...Array.from({ length: 100 }, (_, i) => [
        `ip link add eni${i} type veth peer name p${i} netns many`,
        `ip link set eni${i} up`,
        `ip route add 198.51.100.${i}/32 dev eni${i}`,
      ]).flat(),
    ]);
    await upWithRecords(node, ["--pod-addresses", "pods"]);
    expect(await announced(node)).toEqual(["198.51.100.0/26", "198.51.100.64/27", "198.51.100.96/30"]);
    expect(await wgJson<{ writes: number }>(node, ["sync"])).toMatchObject({ writes: 0 });
    expect(agents.map(({ node: { name } }) => name)).toEqual(["n1", "n2"]);
  });
});

describe.skipIf(missing !== undefined)("nodes that join one after the other, with pods already there", () => {
  const lab = withLab("joining");
  let nodes: [Node, Node];
  let earlier: [Pod, Pod];

  beforeAll(async () => {
    nodes = [await cloudNode(lab, 1), await cloudNode(lab, 2)];
    earlier = [makeEarlier(nodes[0], "e1", 101), makeEarlier(nodes[1], "e2", 102)];
  });
  test("nothing is lost on the way to permissive mode, whichever node is first, nor back", async () => {
    const [n1, n2] = nodes;
    const [e1, e2] = earlier;
    const pairs = [
      [e1, e2],
      [e2, e1],
      [n1, e2],
      [n2, e1],
      [e1, n2],
      [e2, n1],
      [n1, e1],
    ] as const;
    const streams = await Streams.start(
      families.flatMap((family) => pairs.map(([from, to]) => ({ ...flow(from, to, family), echo: true }))),
      { rate: 50 },
    );
    const running: Agent[] = [];
    for (const node of [n2, n1]) {
      await upWithRecords(node, ["--pod-addresses", "pods"]);
      running.push(await node.agent());
      await Bun.sleep(phaseMs);
    }
    for (const node of nodes)
      await waitUntil(async () => (await shown(node)).peers.some(({ state }) => state === "encrypted"), {
        what: `${node.name} encrypts`,
        timeoutMs: soonMs,
      });
    await Bun.sleep(phaseMs);
    // One that is restarted announces the same.
    const before = await announced(n1);
    await running[1]?.kill();
    await n1.agent();
    await Bun.sleep(phaseMs);
    expect(await announced(n1)).toEqual(before);
    await wgMust(n2, ["down"]);
    await Bun.sleep(phaseMs);
    expect(losses(await streams.stop())).toEqual({});
  });
});
