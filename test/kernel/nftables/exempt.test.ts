// Host encryption's part of the firewall, with real packets between two nodes of
// the lab: the route of the other node into the tunnel is made by hand, on both
// or on one of them, and every uplink has strict reverse-path filtering.
//
//   n1, client ── eth0 ───────── wire ───────── eth0 ── n2, server
//             └── wg-cni-a ═══════════════ wg-cni-a ──┘
//
// The witness is a capture of the wire.
import { beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Family } from "../../../src/net/ip.ts";
import type { Capture } from "../../lab/capture.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Packet } from "../../lab/pcap.ts";
import { http, ping, serveHttp } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeByHand } from "../support/by-hand.ts";
import {
  countedOut,
  echoUdp,
  encryptHost,
  type HostEncryption,
  sendUdp,
} from "../support/host-encryption.ts";
import { addNode, missing } from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

const families = [4, 6] as const;
/** Of the server: what is exempt in most of the tests, and what never is. */
const apiPort = 6443;
const otherPort = 8080;
const pods = { 4: "10.244.2.9", 6: "fd00:10:244:2::9" } as const;
/** Nobody has these; n1 translates them as it would a service's. */
const services = { 4: "198.18.0.1", 6: "2001:db8:18::1" } as const;
/** Of the server too, but the client does not know it as such. */
const further = { 4: "192.0.2.22", 6: "2001:db8::22" } as const;
const text = "a sentence that can be read on the wire";

describe.skipIf(missing !== undefined)("host encryption", () => {
  const lab = withLab("exempt");
  let capture: Capture;
  let n1: Node;
  let n2: Node;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    // Before the mesh, which nobody keeps here: with it comes what marks need of a strict filter.
    for (const node of [n1, n2]) node.strictReversePath();
    await joinMesh([n1, n2]);
    n2.script([
      "ip link add pod0 type bridge",
      ...families.map((family) => `ip address add ${pods[family]} dev pod0${family === 6 ? " nodad" : ""}`),
      "ip link set pod0 up",
      ...[`${further[4]}/24`, `${further[6]}/64 nodad`].map((it) => `ip address add ${it} dev eth0`),
    ]);
    await serveHttp(n2, text, [apiPort, otherPort, 2379]);
    for (const port of [4789, 4790]) await echoUdp(n2, port);
    capture = await lab.capture();
  });
  beforeEach(() => {
    for (const node of [n1, n2]) node.script(["nft delete table inet test 2>/dev/null || true"]);
  });

  const server = (family: Family) => n2.ip(family)!;
  const api = (family: Family) => (family === 4 ? `${server(4)}:${apiPort}` : `[${server(6)}]:${apiPort}`);
  const both = (how: Omit<HostEncryption, "routed">) => {
    encryptHost(n1, n2, { routed: true, ...how });
    encryptHost(n2, n1, { routed: true, ...how });
  };

  /** The nodes' packets that crossed the wire in plaintext meanwhile. */
  const inPlaintext = async (act: () => Promise<unknown>): Promise<Packet[]> => {
    const before = (await capture.packets()).length;
    await act();
    const packets = (await capture.packets()).slice(before);
    return packets.filter((packet) => ["host", "plaintext"].includes(capture.kindOf(packet)));
  };
  /** Returns the senders of plaintext packets. */
  const senders = (packets: readonly Packet[]) => [...new Set(packets.map(({ source }) => source))].sort();
  /** Has an answer from a port of the server, and says who of the two talked in plaintext. */
  const ask = async (ip: string, port: number) => {
    const packets = await inPlaintext(async () =>
      expect(await http(n1, ip, 10, port)).toEqual({ ok: true, text }),
    );
    return senders(packets);
  };

  describe.each(families)("IPv%i", (family) => {
    const client = () => n1.ip(family)!;
    const nobody: string[] = [];

    test.each([
      ["both nodes", true, true],
      ["the client alone", true, false],
      ["the server alone", false, true],
    ])(
      "on %s: an exempt service is in plaintext both ways, others as the routes have it",
      async (_on, c, s) => {
        for (const strict of [false, true]) {
          encryptHost(n1, n2, { routed: c, strict, exempt: [api(family)] });
          encryptHost(n2, n1, { routed: s, strict, exempt: [api(family)] });
          expect(await ask(server(family), apiPort)).toEqual([client(), server(family)].sort());
          // Answers go where the question came from; one that came in plaintext has the answer by the tunnel all the same.
          expect(await ask(server(family), otherPort)).toEqual(c ? [] : [client()]);
          expect(await ping(n1, server(family))).toMatchObject({ received: 3 });
          expect(await ping(n2, client())).toMatchObject({ received: 3 });
        }
      },
    );

    test("all that an exempt address sends and receives is in plaintext", async () => {
      for (const address of [server(family), client()]) {
        both({ exempt: [address] });
        expect(await ask(server(family), otherPort)).toEqual([client(), server(family)].sort());
        const pinged = await inPlaintext(() => ping(n1, server(family), { count: 1 }));
        expect(senders(pinged)).toEqual([client(), server(family)].sort());
      }
    });

    test("a port of any node is in plaintext, with its own protocol only", async () => {
      both({ exempt: ["udp/4789", "tcp/2379", "tcp/4790", `udp/${otherPort}`] });
      const send = (port: number) =>
        inPlaintext(async () => expect(await sendUdp(n1, server(family), port)).toBe(true));
      expect(senders(await send(4789))).toEqual([client(), server(family)].sort());
      expect(senders(await send(4790))).toEqual(nobody);
      expect(await ask(server(family), 2379)).toEqual([client(), server(family)].sort());
      expect(await ask(server(family), otherPort)).toEqual(nobody);
    });

    test("nothing to or from a pod is exempt", async () => {
      both({ exempt: [`tcp/${otherPort}`, server(family), client()] });
      expect(await ask(pods[family], otherPort)).toEqual(nobody);
    });

    test("what counts is the address that a packet is translated to: a service of the exempt, or a pod after all", async () => {
      const [type, to] = family === 4 ? ["ip", api(4)] : ["ip6", api(6)];
      const pod = family === 4 ? `${pods[4]}:${otherPort}` : `[${pods[6]}]:${otherPort}`;
      n1.script([
        "nft add table inet test",
        "nft 'add chain inet test output { type nat hook output priority -100; }'",
        `nft 'add rule inet test output ${type} daddr ${services[family]} tcp dport 443 dnat ${type} to ${to}'`,
        `nft 'add rule inet test output ${type} daddr ${server(family)} tcp dport 444 dnat ${type} to ${pod}'`,
      ]);
      both({ exempt: [api(family), "tcp/444"] });
      expect(await ask(services[family], 443)).toEqual([client(), server(family)].sort());
      expect(await ask(server(family), 444)).toEqual(nobody);
    });

    test("an address that is no node IP is reached in plaintext, which the tunnel would not take from it", async () => {
      const ours = ({ source = "", destination = "" }: Packet) =>
        [source, destination].includes(further[family]);
      for (const strict of [false, true]) {
        both({ strict });
        const before = (await capture.packets()).length;
        expect(await ping(n1, further[family])).toMatchObject({ received: 3 });
        expect(await http(n1, further[family], 10)).toEqual({ ok: true, text });
        expect(await ping(n2, client(), { source: further[family] })).toMatchObject({ received: 3 });
        const packets = (await capture.packets()).slice(before);
        expect(senders(packets.filter(ours))).toEqual([client(), further[family]].sort());
        expect(await ask(server(family), otherPort)).toEqual(nobody);
      }
      n2.script(["nft flush chain inet wg-cni foreign"]);
      expect(await ping(n1, further[family])).toMatchObject({ received: 0 });
    });

    test("an exempt service is reached while the tunnel is broken, and nothing else is", async () => {
      both({ exempt: [api(family)] });
      n2.script([
        "nft add table inet test",
        "nft 'add chain inet test input { type filter hook input priority 0; }'",
        "nft add rule inet test input udp dport 51820 drop",
      ]);
      expect(await http(n1, server(family), 10, apiPort)).toEqual({ ok: true, text });
      expect((await http(n1, server(family), 2, otherPort)).ok).toBe(false);
    });
  });

  test("without the marks, strict reverse-path filtering would drop all that comes from a routed node", async () => {
    n2.script([
      "nft add table inet test",
      "nft 'add chain inet test input { type filter hook input priority 0; }'",
      "nft add counter inet test heard",
      `nft add rule inet test input ip saddr ${n1.ip(4)} ip daddr 224.0.0.1 counter name heard`,
    ]);
    // The packet is for several nodes, as keepalived's packets are.
    const heard = () => {
      n1.exec(["ping", "-c", "1", "-W", "0.1", "-I", "eth0", "224.0.0.1"]);
      return n2.must(["nft", "reset", "counters", "table", "inet", "test"]);
    };
    for (const strict of [false, true]) {
      both({ known: false, strict });
      expect(await ping(n1, server(4), { count: 1 })).toMatchObject({ received: 0 });
      // All but what is for the node itself is marked anyway.
      expect(heard()).toContain("packets 1");
      both({ strict });
      expect(await ping(n1, server(4), { count: 1 })).toMatchObject({ received: 1 });
      expect(heard()).toContain("packets 1");
    }
  });

  test("nodes find each other's link-layer address, whichever of them routes into the tunnel", async () => {
    const find = async () => {
      for (const node of [n1, n2]) node.script(["ip -4 neigh flush dev eth0"]);
      return (await ping(n1, server(4), { count: 1 })).received;
    };
    for (const [c, s] of [
      [true, true],
      [true, false],
      [false, true],
    ] as const) {
      encryptHost(n1, n2, { routed: c });
      encryptHost(n2, n1, { routed: s });
      expect(await find()).toBe(1);
    }
    encryptHost(n2, n1, { routed: true });
    // The kernel by itself would not answer.
    n2.script(["nft delete table arp wg-cni"]);
    expect(await find()).toBe(0);
    encryptHost(n2, n1, { routed: true });
    expect(await find()).toBe(1);
  });

  describe("packets of a node that still sends in plaintext", () => {
    beforeAll(() => {
      for (const [node, ip] of [
        [n1, "10.244.1.7"],
        [n2, "10.244.2.7"],
      ] as const)
        makeByHand(node.pod("web"), {
          ...{ hostDev: "veth-web", ips: [{ address: `${ip}/32`, gateway: node.ip(4)! }] },
        });
    });

    test("reach our pods in permissive mode, and in strict mode are left to the filter", async () => {
      // Past our tables, as a node sends that has none.
      n1.script(["ip rule add priority 10 to 10.244.2.7 lookup main"]);
      try {
        for (const [strict, received] of [
          [false, 3],
          [true, 0],
        ] as const) {
          encryptHost(n1, n2, { routed: false });
          encryptHost(n2, n1, { routed: true, strict });
          expect(await ping(n1, "10.244.2.7")).toMatchObject({ received });
        }
      } finally {
        n1.script(["ip rule delete priority 10"]);
      }
    });

    test("go on into the tunnel if they lead to a remote pod", async () => {
      n2.script([
        "nft add table inet test",
        "nft 'add chain inet test prerouting { type nat hook prerouting priority -100; }'",
        `nft 'add rule inet test prerouting ip daddr ${server(4)} tcp dport 445 dnat ip to 10.244.1.7:${otherPort}'`,
        "nft 'add chain inet test postrouting { type nat hook postrouting priority 100; }'",
        "nft 'add rule inet test postrouting ip daddr 10.244.1.7 masquerade'",
      ]);
      for (const strict of [false, true]) {
        encryptHost(n1, n2, { routed: false });
        encryptHost(n2, n1, { routed: true, strict });
        const before = countedOut(n2);
        const sent = Number(n2.must(["cat", "/sys/class/net/wg-cni-a/statistics/tx_packets"]));
        const packets = await inPlaintext(() => http(n1, server(4), 2, 445));
        const toPod = packets.filter(({ destination }) => destination === "10.244.1.7");
        expect([toPod, countedOut(n2) - before]).toEqual([[], 0]);
        expect(Number(n2.must(["cat", "/sys/class/net/wg-cni-a/statistics/tx_packets"]))).toBeGreaterThan(
          sent,
        );
      }
    });
  });
});
