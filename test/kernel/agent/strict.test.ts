// Strict mode, from before the first pod on and without an agent: what a pod
// sends is encrypted or refused, what arrives in plaintext in a remote pod's name is
// dropped and counted, whatever becomes of agent, links and devices.
//
//   n1, whose agent comes and goes ──┬── n2, a peer with an open gate
//                                    └── n3, a peer that has no keys
//
// Witnesses are a capture of the wire and of a pod, streams, and ip.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import type { Node } from "../../lab/node.ts";
import { answering, pathStreams, paths, probePaths } from "../../lab/path-matrix.ts";
import { repository } from "../../lab/paths.ts";
import type { Packet } from "../../lab/pcap.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import type { FlowResult, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, routeLines, tables, wgJson, wgMust } from "../support/mesh-reference.ts";
import { PodCapture } from "../support/pod-capture.ts";

const families = [4, 6] as const;
const clusterCidrs = "10.244.0.0/16,fd00:10:244::/48";
/** Long enough for some hundred requests on each path. */
const phaseMs = 1500;
const openMs = 30_000;
const injected = 5;
/** Nobody listens there, and no stream uses it. */
const injectedPort = 9;

interface Status {
  readonly peers: readonly { readonly name: string; readonly plaintext?: { readonly inPackets: number } }[];
}

describeKernel("strict mode", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("strict");
  let nodes: Node[];
  let n1: Node;
  let n2: Node;
  let n3: Node;
  let p1: Pod;
  let p2: Pod;
  let p3: Pod;
  let agent: Agent;

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)];
    [n1, n2, n3] = nodes as [Node, Node, Node];
    for (const node of nodes)
      await wgMust(node, ["up", ...node.upArguments, "--mode", "strict", "--cluster-cidrs", clusterCidrs]);
  });
  const addPod = async (node: Node) => {
    const pod = node.pod(`p-${node.name}`);
    const name = { n1: "10-ptp", n2: "10-bridge", n3: "10-wg-cni" }[node.name];
    await node.runtime.add(readConfList(`${repository}/conf/${name}.conflist`), pod);
    return pod;
  };
  const importOne = async (to: Node, from: Node, change: Partial<NodeRecord> = {}) => {
    const record = await wgJson<NodeRecord>(from, ["node", "show"]);
    await wgMust(to, ["peer", "import", "-"], { stdin: JSON.stringify({ ...record, ...change }) });
  };
  const streams = () =>
    Promise.all(
      families.flatMap((family) =>
        [p2, p3].map((other) => pathStreams(p1, other, family, { mayLose: true })),
      ),
    );
  /** Streams between nodes must have sent packets here; their losses are not checked. */
  const stop = async (running: readonly Streams[]): Promise<FlowResult[]> => {
    const results = (await Promise.all(running.map((one) => one.stop()))).flat();
    expect(results.every(({ sent }) => sent > 0)).toBe(true);
    return results;
  };
  const inPlaintext = (capture: Capture): Promise<Packet[]> => capture.packetsOf("plaintext");
  const route = (cidr: string, family: 4 | 6 = 4) =>
    routeLines(n1, family, tables.pods).filter(
      (line) => line.includes(` ${cidr} `) || line.startsWith(`${cidr} `),
    );
  const opened = () =>
    waitUntil(() => route("10.244.2.0/24").some((line) => line.includes("dev wg-cni-")), {
      what: "node 1 routes node 2's pods into the tunnel",
      timeoutMs: openMs,
    });
  const allPaths = async () => {
    for (const family of families) expect(answering(await probePaths(p1, p2, family))).toEqual([...paths]);
  };

  test("from the first pod on: while no peer is known, no pod reaches a pod in plaintext", async () => {
    const capture = await lab.capture();
    p1 = await addPod(n1);
    [p2, p3] = [await addPod(n2), await addPod(n3)];
    const running = await streams();
    await Bun.sleep(phaseMs);
    await stop(running);
    const isPod = (ip = "") => ip.startsWith("10.244.") || ip.startsWith("fd00:10:244:");
    // A node that nobody has told of is an address like any other outside of the cluster's.
    const between = (await inPlaintext(capture)).filter((one) => isPod(one.source) && isPod(one.destination));
    expect(between).toEqual([]);
    await capture.stop();
  });

  test("while gates are closed, and when one opens, nothing of a pod is in plaintext", async () => {
    agent = await n1.agent();
    // Keys come later: by then it is known whom not to reach in plaintext.
    for (const to of nodes)
      for (const from of nodes) if (from !== to) await importOne(to, from, { slots: [] });
    const capture = await lab.capture();
    const running = await streams();
    await Bun.sleep(phaseMs);
    await importOne(n1, n2);
    await Bun.sleep(phaseMs);
    for (const cidr of ["10.244.2.0/24", "10.244.3.0/24"]) expect(route(cidr).join()).toStartWith("prohibit");
    await importOne(n2, n1);
    await opened();
    await Bun.sleep(phaseMs);
    await stop(running);
    expect(await inPlaintext(capture)).toEqual([]);
    expect((await capture.tally()).packets.wireguard).toBeGreaterThan(0);
    await capture.stop();
    await allPaths();
  });

  test("without an agent: links flap, devices and routes go; nothing is in plaintext, and the next agent mends it", async () => {
    const capture = await lab.capture();
    const running = await streams();
    await agent.kill();
    await Bun.sleep(phaseMs);
    for (const dev of devices) {
      // A device that goes down takes its routes along.
      n1.script([`ip link set ${dev} down`, "sleep 0.5", `ip link set ${dev} up`]);
      await Bun.sleep(phaseMs / 2);
    }
    expect(route("10.244.2.0/24").join()).toStartWith("prohibit");
    // The uplink too, which then has to have its routes again.
    const uplink = n1.must(["ip", "route", "show", "dev", "eth0"]).trim().split("\n");
    n1.script([
      "echo 1 >/proc/sys/net/ipv6/conf/all/keep_addr_on_down",
      "ip link set eth0 down",
      "ip link set eth0 up",
    ]);
    n1.script(uplink.map((line) => `ip route replace ${line} dev eth0`));
    n1.script(
      [n2, n3].flatMap((node) => [`ip route replace ${node.podCidrs[1]} via ${node.ip(6)} dev eth0`]),
    );
    await Bun.sleep(phaseMs);
    for (const dev of devices) n1.must(["ip", "link", "delete", dev]);
    await Bun.sleep(phaseMs);
    for (const family of families)
      for (const cidr of n2.podCidrs.filter((one) => one.includes(":") === (family === 6)))
        expect(route(cidr, family).join()).toStartWith("prohibit");
    agent = await n1.agent();
    await opened();
    const results = await stop(running);
    // While it was refused, the sender was told so.
    expect(results.some(({ refused }) => (refused["EACCES"] ?? 0) > 0)).toBe(true);
    expect(await inPlaintext(capture)).toEqual([]);
    await capture.stop();
    await waitUntil(async () => answering(await probePaths(p1, p2, 4)).length === paths.length, {
      what: "all paths answer again",
    });
    await allPaths();
  });

  test("what comes in plaintext in a remote pod's name is dropped and counted, with an agent and without", async () => {
    const counted = async () => {
      const { peers } = await wgJson<Status>(n1, ["status"]);
      return peers.find(({ name }) => name === "n2")?.plaintext?.inPackets;
    };
    /** From the wire, in the name of the pod of node 2; how many of them reach the pod of node 1. */
    const inject = async () => {
      const seen = await PodCapture.start(p1);
      for (const family of families) lab.wire.script(injection(p1, family));
      const packets = await seen.packets();
      return packets.filter(({ destinationPort }) => destinationPort === injectedPort).length;
    };
    for (const family of families) lab.wire.script(disguise(p1, p2, family));
    const before = (await counted()) as number;
    expect(await inject()).toBe(0);
    expect(await counted()).toBe(before + families.length * injected);
    await agent.kill();
    expect(await inject()).toBe(0);
    expect(await counted()).toBe(before + 2 * families.length * injected);
    // The one thing that needs an agent: the table that drops may itself be deleted. Routes still refuse.
    const capture = await lab.capture();
    n1.must(["nft", "delete", "table", "inet", "wg-cni"]);
    n1.must(["ip", "link", "delete", "wg-cni-a"]);
    n1.must(["ip", "link", "delete", "wg-cni-b"]);
    const running = await streams();
    await Bun.sleep(phaseMs);
    await stop(running);
    const sent = (await inPlaintext(capture)).filter(
      ({ source }) => source === p1.ip(4) || source === p1.ip(6),
    );
    expect(sent).toEqual([]);
    await capture.stop();
    agent = await n1.agent();
    expect(await inject()).toBe(0);
    expect(await counted()).toBe(families.length * injected);
    await agent.stop();
  });

  /** A host on the wire takes the remote pod's address. */
  const disguise = (to: Pod, as: Pod, family: 4 | 6) => [
    `ip address add ${as.ip(family)}/${family === 4 ? 32 : 128} dev lo${family === 6 ? " nodad" : ""}`,
    `ip route add ${to.ip(family)} via ${to.node.ip(family)} dev br0 src ${as.ip(family)}`,
  ];
  const injection = (to: Pod, family: 4 | 6) => [
    `bash -c 'for i in $(seq ${injected}); do printf injected >/dev/udp/${to.ip(family)}/${injectedPort}; done'`,
  ];
});
