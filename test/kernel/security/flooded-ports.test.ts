// A machine in the nodes' network floods both WireGuard ports of a node: with messages of every type and size that
// nobody has sent, and with all that it has recorded, initiations first of all, from its own address and in the
// name of the peer. Under it nothing is lost and nothing arrives twice, no peer is looked for at another address, no
// recorded initiation is answered, and the agent works as little as before.
//
//   n1, pod ──┬── n2, pod        streams through the tunnel, both families
//             └── the flood, to n1
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { LinkSender } from "../../attacks/support/sockets.ts";
import type { Agent } from "../../lab/agent.ts";
import { type Capture, wireguardPorts } from "../../lab/capture.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Packet } from "../../lab/pcap.ts";
import type { Pod } from "../../lab/pod.ts";
import { eachWay, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeRandom, pick } from "../../plan/random.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import { addNode, devices, ipJson, wgDump } from "../support/mesh-reference.ts";
import { macOf } from "../support/spoofer.ts";
import { datagram } from "./support/frames.ts";

/** Of the messages of WireGuard (its paper, 5.4): initiation, response, cookie, the shortest data. */
const messageBytes = { 1: 148, 2: 92, 3: 64, 4: 32 } as const;
const outsider = { ip: "192.0.2.66", mac: "02:00:00:00:00:bd" };
const floodMs = 6000;
/** What a node that waits for its turn for some seconds has room for: what it drops then is the machine's, and no proof. */
const burst = 25;
const everyMs = 20;
/** An agent that nothing happens to takes 2 % of a processor; one that each datagram woke would take all of it. */
const mostShare = 0.15;
const ticksPerSecond = 100;

describeKernel("flooded ports", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("flood");
  const random = makeRandom(51820);
  let n1: Node;
  let n2: Node;
  let agents: readonly Agent[];
  let capture: Capture;
  let streams: Streams;
  let sender: LinkSender;
  let recorded: readonly Packet[];

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    capture = await lab.capture("udp");
    ({ agents } = await joinByRecords([n1, n2]));
    const pods = (await addPods([n1, n2])) as [Pod, Pod];
    await awaitTunnels([n1, n2]);
    streams = await Streams.start([...eachWay([pods], 4), ...eachWay([pods], 6)], { rate: 100 });
    // A part of the stream is recorded too.
    await Bun.sleep(1000);
    recorded = (await capture.packets()).filter(isFromPeer);
    const port = ipJson(lab.wire, "link", "show", "dev", n1.name)[0]?.["ifindex"] as number;
    sender = new LinkSender(`/proc/${lab.wire.enter[1]}/ns/net`, port, () => new Uint8Array());
  });
  afterAll(() => sender?.[Symbol.dispose]());

  const isFromPeer = ({ source, destination, destinationPort = 0 }: Packet) =>
    source === n2.ip(4) && destination === n1.ip(4) && wireguardPorts.includes(destinationPort);
  const typeOf = ({ payload }: Packet) => payload?.[0];
  /** Those to each of the ports; sent again with the source that it had, or with the outsider's. */
  const replay = (packet: Packet, from: string) => {
    const { sourcePort = 0, destinationPort = 0, payload = new Uint8Array() } = packet;
    return frameTo(from, { from: sourcePort, to: destinationPort }, payload);
  };
  const frameTo = (from: string, ports: { from: number; to: number }, payload: Uint8Array) =>
    datagram({ from: outsider.mac, to: macOfNode }, { from, to: n1.ip(4) as string }, ports, payload);
  let macOfNode = "";
  /** A message of a known type and the right size, or of none. */
  const garbage = () => {
    const type = pick(random, [1, 2, 3, 4, 0, 5, 255] as const);
    const length = (messageBytes as Record<number, number>)[type] ?? Math.floor(random() * 1400);
    const payload = Uint8Array.from({ length }, () => Math.floor(random() * 256));
    if (length >= 4) payload.set([type, 0, 0, 0]);
    const ports = { from: 1024 + Math.floor(random() * 60_000), to: pick(random, wireguardPorts) };
    return frameTo(pick(random, [outsider.ip, n2.ip(4) as string, "203.0.113.9"]), ports, payload);
  };
  const endpoints = (node: Node) =>
    Object.values(wgDump(node)).flatMap(({ peers }) => Object.values(peers).map(({ endpoint }) => endpoint));
  /** What a process of the node has read of all that came to its ports, by now. */
  const taken = () => {
    const [names, values] = n1
      .must(["grep", "Udp:", "/proc/net/snmp"])
      .split("\n")
      .map((line) => line.split(" "));
    return Number(values?.[names?.indexOf("InDatagrams") ?? -1]);
  };
  const cpuSeconds = ({ pid }: Agent) => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  };

  test("the attacker has recorded an initiation to each port, and data", () => {
    const initiations = recorded.filter((packet) => typeOf(packet) === 1);
    expect(new Set(initiations.map(({ destinationPort }) => destinationPort)).size).toBe(devices.length);
    expect(recorded.filter((packet) => typeOf(packet) === 4).length).toBeGreaterThan(50);
  });

  test("under garbage and replays nothing is lost, no peer moves, and the agent works no more", async () => {
    macOfNode = macOf(n1, "eth0");
    const initiations = recorded.filter((packet) => typeOf(packet) === 1);
    const before = {
      taken: taken(),
      endpoints: endpoints(n1),
      cpu: agents.map(cpuSeconds),
      lines: agents.map((a) => a.lines().length),
    };
    const started = performance.now();
    let sent = 0;
    while (performance.now() - started < floodMs) {
      for (let i = 0; i < burst; i++) {
        const source = pick(random, [outsider.ip, n2.ip(4) as string]);
        const kind = pick(random, ["garbage", "initiation", "any"] as const);
        const frame =
          kind === "garbage"
            ? garbage()
            : replay(pick(random, kind === "any" ? recorded : initiations), source);
        sender.send(frame);
        sent++;
      }
      // No burst makes up for one that was late.
      await Bun.sleep(everyMs);
    }
    const seconds = (performance.now() - started) / 1000;
    const shares = agents.map((agent, i) => (cpuSeconds(agent) - (before.cpu[i] as number)) / seconds);
    console.log(
      `${sent} datagrams in ${seconds.toFixed(1)} s; the agents took ${shares.map((share) => `${(100 * share).toFixed(1)} %`).join(", ")} of a processor`,
    );
    // The flood came as far as WireGuard, or it would show nothing.
    await waitUntil(() => taken() - before.taken > 0.9 * sent, { what: "node 1 has read the flood" });
    for (const share of shares) expect(share).toBeLessThan(mostShare);
    expect(endpoints(n1)).toEqual(before.endpoints);
    for (const [i, agent] of agents.entries())
      expect(
        agent
          .lines()
          .slice(before.lines[i])
          .filter(({ level }) => level === "error" || level === "warn"),
      ).toEqual([]);
    const results = await streams.stop();
    expect(losses(results)).toEqual({});
    expect(results.map(({ duplicates }) => duplicates)).toEqual(results.map(() => 0));
  });

  test("no recorded initiation was answered, and the outsider got no data", async () => {
    const toStranger = (await capture.packets()).filter(({ destination }) => destination === outsider.ip);
    expect(toStranger.filter((packet) => typeOf(packet) === 2 || typeOf(packet) === 4)).toEqual([]);
  });
}, ["wireguard-go", "tcpdump", "wg"]);
