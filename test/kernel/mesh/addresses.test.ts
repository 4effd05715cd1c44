// A node with more addresses than its peers know of, with real packets: a pod
// talks to a further IPv4 address of the other node, and to its IPv6 address,
// where only an IPv4 endpoint was typed. The tunnel cannot take what comes from
// there, so in permissive mode it goes outside and nothing is lost; in strict
// mode nothing of it is in plaintext. Every uplink has strict reverse-path filtering.
//
//   pod ── n1 192.0.2.1 ──────── wire ──────── n2 192.0.2.2, its one node IP
//                                                 192.0.2.22, 2001:db8::2
//
// Witnesses are a capture of the wire, ping, HTTP, and counted datagrams.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { PeerStatus } from "../../../src/plan/report/peer-status.ts";
import type { Capture } from "../../lab/capture.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { losses, Streams } from "../../lab/stream.ts";
import { http, ping, serveHttp } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeByHand } from "../support/by-hand.ts";
import { addNode, importPeers, missing, wgJson, wgMust } from "../support/mesh-reference.ts";

setDefaultTimeout(120_000);

const families = [4, 6] as const;
/** Of node 2, and no node IPs. */
const further = { 4: "192.0.2.22", 6: "2001:db8::2" } as const;
const podIps = { 4: "10.244.1.7", 6: "fd00:10:244:1::7" } as const;
/** Nobody has it; node 2 translates it to the pod's address, as it would a service's. */
const service = "198.18.0.1";
const text = "a sentence that can be read on the wire";

describe.skipIf(missing !== undefined)("a node with more addresses than node IPs", () => {
  const lab = withLab("addresses");
  let capture: Capture;
  let n1: Node;
  let n2: Node;
  let pod: Pod;
  let records: NodeRecord[];

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    for (const node of [n1, n2]) node.strictReversePath();
    n2.script([`ip address add ${further[4]}/24 dev eth0`]);
    pod = n1.pod("pod");
    const hostDev = "veth-pod";
    const ips = [
      { address: `${podIps[4]}/32`, gateway: n1.ip(4) as string },
      { address: `${podIps[6]}/128`, gateway: "fe80::1" },
    ];
    makeByHand(pod, { hostDev, ips });
    n1.script([`ip address add fe80::1/64 dev ${hostDev} nodad`]);
    await serveHttp(n2, text);
    await serveHttp(pod, text);
    capture = await lab.capture();
  });
  const recordOf = (node: Node) => records.filter(({ name }) => name === node.name);
  const countedBy = async (node: Node) => {
    const { peers } = JSON.parse((await node.wg(["status", "--json"])).stdout) as { peers: PeerStatus[] };
    return peers[0]?.plaintext ?? { inPackets: 0, outPackets: 0 };
  };
  /** From an address of node 2; how many of three were answered. */
  const pingFrom = async (source: string, to: string) => (await ping(n2, to, { source })).received;
  const expectAnswers = async () => {
    for (const family of families) {
      expect(await ping(pod, further[family])).toMatchObject({ received: 3 });
      expect(await http(pod, further[family], 10)).toEqual({ ok: true, text });
    }
  };
  /** By who sent them, the packets that crossed the wire in plaintext meanwhile; and what both nodes counted. */
  const watch = async (act: () => Promise<unknown>) => {
    const [seen, before] = [await capture.packets(), [await countedBy(n1), await countedBy(n2)]];
    await act();
    const packets = (await capture.packets()).slice(seen.length);
    const plaintext = packets.filter((packet) => capture.kindOf(packet) === "plaintext");
    const sentBy = (ips: readonly string[]) =>
      plaintext.filter(({ source = "" }) => ips.includes(source)).length;
    const after = [await countedBy(n1), await countedBy(n2)];
    const [one, two] = after.map(({ inPackets, outPackets }, i) => ({
      in: inPackets - (before[i]?.inPackets ?? 0),
      out: outPackets - (before[i]?.outPackets ?? 0),
    }));
    const [byPod, byNode] = [sentBy(Object.values(podIps)), sentBy(Object.values(further))];
    return { plaintext: plaintext.length, byPod, byNode, counted: [one, two] };
  };
  const nothing = { in: 0, out: 0 };

  test("before `up`, while one node alone encrypts, and on both: nothing is lost", async () => {
    const flows = families.map((family) => ({
      ...{ name: `pod -> ${further[family]}`, from: pod, to: n2, toIp: further[family], echo: true },
    }));
    const streams = await Streams.start(flows, { rate: 50 });
    await expectAnswers();
    for (const node of [n1, n2]) {
      const cidrs = node.podCidrs.flatMap((cidr) => ["--pod-cidr", cidr]);
      await wgMust(node, ["up", "--node", node.name, "--endpoint", node.ip(4) as string, ...cidrs]);
    }
    records = await Promise.all([n1, n2].map((node) => wgJson<NodeRecord>(node, ["node", "show"])));
    expect(records.map(({ nodeIPs }) => nodeIPs)).toEqual([["192.0.2.1"], ["192.0.2.2"]]);
    await importPeers(n2, recordOf(n1));
    await expectAnswers();
    await wgMust(n2, ["peer", "remove", "n1"]);
    await importPeers(n1, recordOf(n2));
    await expectAnswers();
    await importPeers(n2, recordOf(n1));
    await expectAnswers();
    expect(losses(await streams.stop())).toEqual({});
  });

  test("what is outside is counted packet by packet at the node that has the address, and nothing else is outside", async () => {
    const { plaintext, byPod, byNode, counted } = await watch(expectAnswers);
    expect(counted).toEqual([nothing, { in: byPod, out: byNode }]);
    expect(plaintext).toBe(byPod + byNode);
    expect(byPod).toBeGreaterThan(8);
    expect(byNode).toBeGreaterThan(8);
    const others = await watch(async () => {
      expect(await ping(pod, n2.ip(4) as string)).toMatchObject({ received: 3 });
      expect(await ping(n2, podIps[4])).toMatchObject({ received: 3 });
    });
    expect(others).toEqual({ plaintext: 0, byPod: 0, byNode: 0, counted: [nothing, nothing] });
  });

  test("what begins at such an address is answered too, and counted", async () => {
    for (const family of families) {
      const { counted } = await watch(async () =>
        expect(await pingFrom(further[family], podIps[family])).toBe(3),
      );
      expect(counted).toEqual([nothing, { in: 3, out: 3 }]);
    }
    // Without an address of that family that the tunnel has, the kernel takes it by itself.
    expect(await ping(n2, podIps[6])).toMatchObject({ received: 3 });
  });

  describe("if such an address is translated to the node's on its way into the tunnel", () => {
    beforeAll(() =>
      n2.script([
        "nft add table inet test",
        "nft 'add chain inet test output { type nat hook output priority -100; }'",
        `nft 'add rule inet test output ip daddr ${service} dnat ip to ${podIps[4]}'`,
        "nft 'add chain inet test postrouting { type nat hook postrouting priority 100; }'",
        `nft 'add rule inet test postrouting ip saddr ${further[4]} oifname "wg-cni-*" masquerade'`,
        `ip route add ${service} via 192.0.2.254`,
      ]),
    );
    afterAll(() => n2.script(["nft delete table inet test", `ip route delete ${service}`]));

    test.each([
      ["permissive", service],
      ["strict", service],
      // Permissive mode cannot know what becomes of it, and loses nothing.
      ["strict", podIps[4]],
    ])("%s: what is sent to %s is encrypted", async (mode, to) => {
      await wgMust(n2, ["up", "--mode", mode]);
      const seen = await watch(async () => expect(await pingFrom(further[4], to)).toBe(3));
      expect(seen).toEqual({ plaintext: 0, byPod: 0, byNode: 0, counted: [nothing, nothing] });
    });
  });

  test("strict: what arrives there is dropped and counted, and what leaves from there too, not in plaintext", async () => {
    await wgMust(n2, ["up", "--mode", "strict"]);
    for (const family of families) {
      const to = await watch(async () =>
        expect(await ping(pod, further[family])).toMatchObject({ received: 0 }),
      );
      expect(to).toEqual({ plaintext: 3, byPod: 3, byNode: 0, counted: [nothing, { in: 3, out: 0 }] });
      const from = await watch(async () => expect(await pingFrom(further[family], podIps[family])).toBe(0));
      expect(from).toEqual({ plaintext: 0, byPod: 0, byNode: 0, counted: [nothing, { in: 0, out: 3 }] });
    }
    expect(await ping(pod, n2.ip(4) as string)).toMatchObject({ received: 3 });
    expect(await ping(n2, podIps[4])).toMatchObject({ received: 3 });
    await wgMust(n2, ["up", "--mode", "permissive"]);
    await expectAnswers();
  });
});
