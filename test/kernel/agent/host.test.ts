// Host encryption with agents, between three nodes whose uplinks have strict
// reverse-path filtering. Nothing is lost where it begins and ends, node by node
// under traffic; the control plane stays reachable without the tunnel; and it
// is taken back where the node cannot reach its control plane after all.
//
//   n1, the control plane ──┬── n2
//                           └── n3, whose tunnel breaks
//
// Witnesses are a capture of the wire, counted packets, HTTP and ping.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { HostEncryptionReport } from "../../../src/plan/host/host-encryption.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Packet } from "../../lab/pcap.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { eachWay, flow, losses, Streams } from "../../lab/stream.ts";
import { http, ping, serveHttp } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, wgJson, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
const apiPort = 6443;
const exemptPort = 2379;
const otherPort = 8080;
const text = "a sentence that can be read on the wire";
/** Nobody has these: n3 translates them to the control plane's address, as it would a service's. */
const services = ["198.18.0.1:443", "[2001:db8:18::1]:443"];
/** Each way between every two nodes and every two pods, both families: 24 flows. */
const rate = 40;
const phaseMs = 1500;
/** Longer than a connection takes on a busy machine. */
const deadManSeconds = 5;

const stays = "control plane answers: host encryption stays";
const takenBack = "host encryption reverted";

describeKernel("host encryption", () => {
  setDefaultTimeout(180_000);
  const lab = withLab("host");
  let nodes: Node[];
  let n1: Node;
  let n2: Node;
  let n3: Node;
  let pods: Pod[];
  const agents = new Map<Node, Agent>();

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)];
    [n1, n2, n3] = nodes as [Node, Node, Node];
    for (const node of nodes) node.strictReversePath();
    for (const node of nodes) await wgMust(node, ["up", ...node.upArguments]);
    for (const node of nodes) agents.set(node, await node.agent());
    const records = await Promise.all(nodes.map((node) => wgJson<NodeRecord>(node, ["node", "show"])));
    for (const node of nodes) {
      const others = records.filter(({ name }) => name !== node.name);
      await wgMust(node, ["peer", "import", "-"], { stdin: JSON.stringify(others) });
    }
    pods = nodes.map((node) => node.pod("pod"));
    for (const pod of pods)
      await pod.node.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
    for (const node of nodes) {
      await serveHttp(node, text, [apiPort, exemptPort, otherPort]);
      await waitUntil(async () => (await status(node)).peers.every(isOpen), {
        what: `${node.name} has completed a handshake with each peer`,
        timeoutMs: 40_000,
      });
    }
  });
  const agentOf = (node: Node) => agents.get(node) as Agent;
  const controlPlane = () => n1.nodeIps.map((ip) => withPort(ip, apiPort)).join();
  const pairs = <T>([a, b, c]: readonly T[]) =>
    [
      [a, b],
      [a, c],
      [b, c],
    ] as [T, T][];
  const everywhere = () =>
    Streams.start(
      families.flatMap((family) => [...eachWay(pairs(nodes), family), ...eachWay(pairs(pods), family)]),
      { rate, text },
    );
  const state = async (node: Node) => (await status(node)).hostEncryption;
  const reaches = (from: Node, ip: string, port: number) => http(from, ip, 10, port);
  /** Says what it is to be, and waits for what the agent says to it. */
  const turn = async (node: Node, options: readonly string[], answer?: string) => {
    const from = agentOf(node).lines().length;
    await wgMust(node, ["up", ...options]);
    if (answer !== undefined) await agentOf(node).waitFor(answer, 60_000, from);
  };
  const turnOff = (node: Node) => turn(node, ["--host-encryption", "off"], "host encryption ended");
  const turnOn = (node: Node) =>
    turn(
      node,
      [
        ...["--host-encryption", "on", "--control-plane", controlPlane()],
        ...["--host-encryption-exempt", `tcp/${exemptPort}`, "--dead-man-timeout", `${deadManSeconds}s`],
      ],
      stays,
    );
  /** Captures the packets between nodes outside the tunnel meanwhile. */
  const inPlaintext = async (act: () => Promise<unknown>): Promise<Packet[]> => {
    const capture = await lab.capture();
    await act();
    const packets = (await capture.packets()).filter((packet) =>
      ["host", "plaintext"].includes(capture.kindOf(packet)),
    );
    await capture.stop();
    return packets;
  };

  test("one node at a time under traffic: nothing is lost, and afterwards only the exempt is in plaintext", async () => {
    const streams = await everywhere();
    expect((await inPlaintext(() => Bun.sleep(phaseMs))).length).toBeGreaterThan(0);
    for (const node of nodes) {
      await turnOn(node);
      await Bun.sleep(phaseMs);
    }
    const still = (await inPlaintext(() => Bun.sleep(phaseMs))).map(describePacket);
    expect(losses(await streams.stop())).toEqual({});
    expect(still).toEqual([]);
    for (const node of nodes)
      expect(await state(node)).toEqual({
        state: "on",
        text: `on, but for tcp/${exemptPort}, ${controlPlane().replace(",", ", ")}`,
      });
  });

  describe.each(families)("IPv%i", (family) => {
    test("the control plane's address with its port is in plaintext both ways, and so is an exempt port", async () => {
      for (const [from, to, port] of [
        [n2, n1, apiPort],
        [n3, n1, apiPort],
        [n2, n3, exemptPort],
      ] as const) {
        const ip = to.ip(family) as string;
        const packets = await inPlaintext(async () =>
          expect(await reaches(from, ip, port)).toEqual({ ok: true, text }),
        );
        expect([...new Set(packets.map(({ source }) => source))].sort()).toEqual(
          [from.ip(family), ip].sort(),
        );
        const ports = ({ sourcePort, destinationPort }: Packet) => [sourcePort, destinationPort];
        expect(packets.filter((packet) => !ports(packet).includes(port)).map(describePacket)).toEqual([]);
      }
    });

    test("that port of another node is not, nor another port of that address", async () => {
      for (const [to, port] of [
        [n3, apiPort],
        [n1, otherPort],
      ] as const) {
        const ip = to.ip(family) as string;
        const packets = await inPlaintext(async () =>
          expect(await reaches(n2, ip, port)).toEqual({ ok: true, text }),
        );
        expect(packets.map(describePacket)).toEqual([]);
      }
    });
  });

  test("killed, the agent is not missed; started again it loses nothing, and begins a new trial", async () => {
    const streams = await everywhere();
    await agentOf(n2).kill();
    await Bun.sleep(phaseMs);
    agents.set(n2, await n2.agent());
    await agentOf(n2).waitFor(stays);
    await Bun.sleep(phaseMs);
    expect(losses(await streams.stop())).toEqual({});
    expect(await state(n2)).toMatchObject({ state: "on" });
  });

  test("off and on again under traffic loses nothing either", async () => {
    const streams = await everywhere();
    await turnOff(n2);
    await Bun.sleep(phaseMs);
    expect(await state(n2)).toMatchObject({ state: "off" });
    await turnOn(n2);
    await Bun.sleep(phaseMs);
    expect(losses(await streams.stop())).toEqual({});
  });

  test("a node whose tunnel breaks reaches its control plane, and is not taken back: that was confirmed", async () => {
    breakTunnel(n3);
    try {
      for (const family of families) {
        const ip = n1.ip(family) as string;
        expect(await ping(n3, ip, { count: 2 })).toMatchObject({ received: 0 });
        expect(await reaches(n3, ip, apiPort)).toEqual({ ok: true, text });
      }
      await Bun.sleep((deadManSeconds + 2) * 1000);
      expect(await state(n3)).toMatchObject({ state: "on" });
    } finally {
      mendTunnel(n3);
    }
    await answersPing(n3, n1);
  });

  test("so does one whose devices are lost with no agent to make them again, in strict mode too", async () => {
    await turn(n3, ["--mode", "strict"]);
    await agentOf(n3).kill();
    n3.script(devices.map((device) => `ip link delete ${device}`));
    for (const family of families)
      expect(await reaches(n3, n1.ip(family) as string, apiPort)).toEqual({ ok: true, text });
    agents.set(n3, await n3.agent());
    await agentOf(n3).waitFor(stays);
    await turn(n3, ["--mode", "permissive"]);
    await answersPing(n3, n1);
  });

  describe("dead-man switch", () => {
    // The control plane behind a service: what is named, and exempt, is not what is sent to.
    beforeAll(async () => {
      await turnOff(n3);
      await turn(n3, ["--control-plane", services.join()]);
      n3.script([
        "nft add table inet service",
        "nft 'add chain inet service output { type nat hook output priority -100; }'",
        `nft 'add rule inet service output ip daddr 198.18.0.1 tcp dport 443 dnat ip to ${n1.ip(4)}:${apiPort}'`,
        `nft 'add rule inet service output ip6 daddr 2001:db8:18::1 tcp dport 443 dnat ip6 to [${n1.ip(6)}]:${apiPort}'`,
      ]);
    });
    afterAll(() => n3.script(["nft delete table inet service"]));

    const asks = async () => [await reaches(n3, "198.18.0.1", 443), await reaches(n3, "2001:db8:18::1", 443)];
    const answered = [
      { ok: true, text },
      { ok: true, text },
    ];

    test("if the tunnel is broken it is taken back in time, logged, and tried again at an operator's word", async () => {
      breakTunnel(n3);
      try {
        expect(await asks()).toEqual(answered);
        const streams = await Streams.start(
          families.flatMap((family) => [flow(n3, n1, family), flow(n3, n2, family)]),
          { rate, mayLose: true },
        );
        await turn(n3, ["--host-encryption", "on"], takenBack);
        const line = agentOf(n3)
          .lines()
          .findLast(({ message }) => message.includes(takenBack));
        expect(line).toMatchObject({
          level: "error",
          reason: `no address of the control plane answered within ${deadManSeconds}s of its beginning: ${services
            .map((service) => `${service} (no answer)`)
            .join(", ")}`,
        });
        await agentOf(n3).waitFor("it stays off until");
        expect(await asks()).toEqual(answered);
        await Bun.sleep(phaseMs);
        for (const { lostRanges, sent, longestGapMs } of await streams.stop()) {
          // Lost from when it began until it was taken back, and nothing before or after.
          expect(lostRanges.length).toBe(1);
          expect(lostRanges[0]?.last).toBeLessThan(sent - 1);
          expect(longestGapMs).toBeGreaterThan((deadManSeconds - 1) * 1000);
        }
        expect(await state(n3)).toMatchObject({
          state: "reverted",
          text: expect.stringContaining("no address of the control plane answered"),
          warning: expect.stringContaining("wg-cni up --host-encryption on"),
        });
        expect((await n3.wg(["status"])).stdout).toMatch(/hosts +encryption taken back at .*no answer/);
        await agentOf(n3).kill();
        agents.set(n3, await n3.agent());
        expect(await state(n3)).toMatchObject({ state: "reverted" });
        expect(await asks()).toEqual(answered);
      } finally {
        mendTunnel(n3);
      }
      await turn(n3, ["--host-encryption", "on"], stays);
      expect(await state(n3)).toMatchObject({ state: "on" });
      expect(await asks()).toEqual(answered);
    });

    test("if the control plane is down itself, it is taken back, and returns with the control plane", async () => {
      await turnOff(n3);
      n1.script([
        "nft add table inet down",
        "nft 'add chain inet down input { type filter hook input priority 0; }'",
        `nft 'add rule inet down input tcp dport ${apiPort} drop'`,
      ]);
      const from = agentOf(n3).lines().length;
      await turn(n3, ["--host-encryption", "on"], takenBack);
      await agentOf(n3).waitFor("does not answer without host encryption either", 60_000, from);
      expect(await state(n3)).toMatchObject({
        state: "reverted",
        warning: expect.stringContaining("returns when the control plane answers"),
      });
      n1.script(["nft delete table inet down"]);
      await agentOf(n3).waitFor(stays, 60_000, from);
      expect(await state(n3)).toMatchObject({ state: "on" });
    });

    test("a refused connection is an answer: nothing listens, but the way is there", async () => {
      await turnOff(n3);
      await turn(n3, ["--host-encryption", "on", "--control-plane", withPort(n1.ip(4) as string, 1)], stays);
    });

    test("without a control plane there is none, which `up` and `status` say", async () => {
      const { stdout } = await n3.wg(["up", "--control-plane", "default"]);
      expect(stdout).toContain("nothing takes host encryption back");
      expect(await state(n3)).toMatchObject({
        state: "on",
        warning: expect.stringContaining("--control-plane"),
      });
    });
  });
});

interface StatusJson {
  readonly hostEncryption: HostEncryptionReport;
  readonly peers: readonly { readonly slot?: string }[];
}

/** Whatever its exit code: while a gate opens, the kernel may be a moment behind. */
async function status(node: Node): Promise<StatusJson> {
  return JSON.parse((await node.wg(["status", "--json"])).stdout) as StatusJson;
}

const isOpen = ({ slot }: { readonly slot?: string }) => slot !== undefined;

/** WireGuard's packets are lost both ways, as behind a firewall that somebody has changed. */
function breakTunnel(node: Node): void {
  node.script([
    "nft add table inet broken",
    ...["input", "output"].flatMap((hook) => [
      `nft 'add chain inet broken ${hook} { type filter hook ${hook} priority 0; }'`,
      `nft 'add rule inet broken ${hook} udp dport { 51820, 51821 } drop'`,
    ]),
  ]);
}

/** It may take a handshake first, which is tried again every five seconds. */
async function answersPing(from: Node, to: Node): Promise<void> {
  for (const ip of to.nodeIps)
    await waitUntil(async () => (await ping(from, ip, { count: 1 })).received === 1, {
      what: `${from.name} gets an answer from ${ip}`,
      timeoutMs: 40_000,
    });
}

function mendTunnel(node: Node): void {
  node.script(["nft delete table inet broken"]);
}

function describePacket({ source, destination, protocol, sourcePort, destinationPort }: Packet): string {
  return `${source} port ${sourcePort} > ${destination} port ${destinationPort}, protocol ${protocol}`;
}

function withPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}
