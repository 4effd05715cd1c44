// The firewall's table handles real packets between namespaces.
//
//   pod 10.1.0.5 -- pod0 | node | up0 10.0.0.1 ---- 10.0.0.2 | remote
//       fd01::5          |      | wg-cni-a ---------- tunnel  |  pod 10.2.0.5, fd02::5
//
// "wg-cni-a" is a plain pair here: to the firewall only its name counts.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { Nft } from "../../../src/netlink/nft/table.ts";
import { countingSets, type Firewall } from "../../../src/plan/firewall/sets.ts";
import { firewallTable, sumByPeer } from "../../../src/plan/firewall/table.ts";
import { describeKernel, Namespace, removeNamespaces, run } from "../support/namespaces.ts";
import { ourTable } from "../support/nft.ts";

const missing = ["nft", "tcpdump", "ping"].filter((tool) => !Bun.which(tool));

const firewall: Firewall = {
  table: "wg-cni",
  devices: ["wg-cni-a", "wg-cni-b"],
  ports: [51820, 51821],
  mark: { mark: 0x20000000, mask: 0x60000000 },
  podsAreAnnounced: false,
  uplinks: [],
  connections: true,
  strict: false,
  pods: ["10.2.0.0/24", "10.2.1.0/24", "fd02::/64"],
  nodes: ["10.0.0.2"],
  senders: ["10.0.0.2"],
  own: ["10.0.0.1"],
  localPods: ["10.1.0.0/24", "fd01::/64"],
  clusterCIDRs: [],
  hostEncryption: false,
  exempt: [],
};

let pod: Namespace;
let node: Namespace;
let remote: Namespace;
let nftables: Nft;

afterAll(removeNamespaces);

function inside(namespace: Namespace, command: string): string {
  return run(["ip", "netns", "exec", namespace.name, "sh", "-c", command]);
}

/** One packet there and one back; true if the answer came. */
function ping(from: Namespace, source: string, to: string): boolean {
  const options = ["-n", "-c", "1", "-W", "1", "-I", source];
  return Bun.spawnSync(["ip", "netns", "exec", from.name, "ping", ...options, to]).success;
}

/** The ICMP errors that a namespace was sent because a packet of its had been refused. */
function refusals(namespace: Namespace): number {
  const [names, values] = inside(namespace, "grep ^Icmp: /proc/net/snmp")
    .split("\n")
    .map((line) => line.split(" "));
  return Number(values?.[names?.indexOf("InDestUnreachs") ?? -1]);
}

/** Packets that were counted, by set and prefix; those at 0 left out. */
function counted(): Record<string, number> {
  const found: Record<string, number> = {};
  const all = nftables.counters(ourTable);
  for (const [set, counters] of countingSets.map(({ name }) => [name, all.get(name) ?? new Map()] as const))
    for (const [prefix, { packets }] of counters) if (packets > 0) found[`${set} ${prefix}`] = packets;
  return found;
}

/** Sends what the node sends to the remote pods through the tunnel, or in plaintext: by a table that marked packets skip. */
function route(which: "tunnel" | "plaintext"): void {
  for (const [family, pods] of [
    [4, "10.2.0.0/24"],
    [6, "fd02::/64"],
  ] as const)
    if (which === "tunnel") node.ip(`-${family} route replace ${pods} dev wg-cni-a table 18099`);
    else inside(node, `ip -${family} route flush table 18099 2>/dev/null || true`);
}

function connect(a: Namespace, devA: string, b: Namespace, devB: string): void {
  a.ip(`link add ${devA} type veth peer name ${devB} netns ${b.name}`);
  // No packets of the kernel's own, which would be counted.
  a.ip(`link set ${devA} addrgenmode none up`);
  b.ip(`link set ${devB} addrgenmode none up`);
  // Neighbours are asked from a link-local address.
  a.ip(`addr add fe80::1/64 dev ${devA} nodad`);
  b.ip(`addr add fe80::2/64 dev ${devB} nodad`);
}

function build(): void {
  [pod, node, remote] = [new Namespace(), new Namespace(), new Namespace()];
  for (const namespace of [pod, node, remote]) {
    namespace.ip("link set lo up");
    inside(
      namespace,
      "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
    );
    inside(
      namespace,
      "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter",
    );
  }
  connect(node, "pod0", pod, "eth0");
  connect(node, "up0", remote, "eth0");
  connect(node, "wg-cni-a", remote, "tunnel");
  node.ip("link set wg-cni-a mtu 1420");
  pod.ip("addr add 10.1.0.5/24 dev eth0");
  pod.ip("addr add fd01::5/64 dev eth0 nodad");
  node.ip("addr add 10.1.0.1/24 dev pod0");
  node.ip("addr add fd01::1/64 dev pod0 nodad");
  node.ip("addr add 10.0.0.1/24 dev up0");
  node.ip("addr add fd00::1/64 dev up0 nodad");
  remote.ip("addr add 10.0.0.2/24 dev eth0");
  remote.ip("addr add fd00::2/64 dev eth0 nodad");
  for (const ip of ["10.2.0.5/32", "10.2.1.5/32", "fd02::5/128"]) remote.ip(`addr add ${ip} dev lo`);
  pod.ip("route add default via 10.1.0.1");
  pod.ip("route add default via fd01::1");
  for (const pods of ["10.2.0.0/24", "10.2.1.0/24"]) node.ip(`route add ${pods} via 10.0.0.2`);
  node.ip("route add fd02::/64 via fd00::2");
  for (const family of [4, 6])
    node.ip(`-${family} rule add priority 99 not fwmark 0x60000000/0x60000000 lookup 18099`);
  // The far end of the tunnel answers for every address that is asked for there.
  inside(remote, "echo 1 > /proc/sys/net/ipv4/conf/tunnel/proxy_arp");
  const far = remote.json("link show tunnel")[0].address;
  const near = node.json("link show wg-cni-a")[0].address;
  for (const ip of ["10.2.0.5", "fd02::5"])
    node.ip(`neigh replace ${ip} lladdr ${far} dev wg-cni-a nud permanent`);
  for (const ip of ["10.1.0.5", "fd01::5", "10.0.0.1"])
    remote.ip(`neigh replace ${ip} lladdr ${near} dev tunnel nud permanent`);
  answer("plaintext");
  route("plaintext");
}

/** Sends what the remote pods send to the node's pod through the tunnel, or in plaintext. */
function answer(which: "tunnel" | "plaintext"): void {
  remote.ip(`route replace 10.1.0.0/24 ${which === "tunnel" ? "dev tunnel" : "via 10.0.0.1"}`);
  remote.ip(`route replace fd01::/64 ${which === "tunnel" ? "dev tunnel" : "via fd00::1"}`);
}

describeKernel(
  "the firewall",
  () => {
    beforeAll(() => {
      build();
      nftables = Nft.open(node.path);
    });

    beforeEach(() => {
      nftables.delete(ourTable);
      nftables.sync(firewallTable(firewall));
      answer("plaintext");
      route("plaintext");
    });

    test("counts every packet in plaintext once, in its direction and under its prefix", () => {
      expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(true);
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 1, "pods4_in 10.2.0.0/24": 1 });
      expect(ping(remote, "10.2.1.5", "10.1.0.5")).toBe(true);
      expect(ping(pod, "fd01::5", "fd02::5")).toBe(true);
      // The node itself sends to a pod, too.
      expect(ping(node, "10.0.0.1", "10.2.0.5")).toBe(true);
      expect(counted()).toEqual({
        ...{ "pods4_out 10.2.0.0/24": 2, "pods4_in 10.2.0.0/24": 2 },
        ...{ "pods4_out 10.2.1.0/24": 1, "pods4_in 10.2.1.0/24": 1 },
        ...{ "pods6_out fd02::/64": 1, "pods6_in fd02::/64": 1 },
      });
      const out = nftables.counters(ourTable).get("pods4_out") ?? new Map();
      expect(
        sumByPeer(
          [
            { element: "10.2.0.0/24", peer: "n2" },
            { element: "10.2.1.0/24", peer: "n3" },
          ],
          out,
        ),
      ).toEqual(
        new Map([
          ["n2", { packets: 2, bytes: 168 }],
          ["n3", { packets: 1, bytes: 84 }],
        ]),
      );
    });

    test("counters that stood still are the same object, and a packet after that is seen", () => {
      const read = () => nftables.counters(ourTable).get("pods4_out");
      const packets = () => read()?.get("10.2.0.0/24")?.packets;
      route("plaintext");
      expect(packets()).toBe(0);
      for (let expected = 1; expected <= 2; expected++) {
        for (let i = 0; i < 3; i++) expect(packets()).toBe(expected - 1);
        const before = read();
        // Another program's change has no part in it.
        run(["ip", "netns", "exec", node.name, "nft", "add", "table", "inet", `other${expected}`]);
        expect(read()).toBe(before as never);
        expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(true);
        expect(packets()).toBe(expected);
      }
      nftables.sync(firewallTable({ ...firewall, pods: ["10.2.0.0/23", "fd02::/64"] }));
      expect([...(read()?.keys() ?? [])]).toEqual(["10.2.0.0/23"]);
    });

    test("counts nothing that travels through our devices, nor between other hosts", () => {
      answer("tunnel");
      route("tunnel");
      expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(true);
      expect(ping(pod, "fd01::5", "fd02::5")).toBe(true);
      expect(ping(remote, "10.0.0.2", "10.0.0.1")).toBe(true);
      expect(ping(node, "127.0.0.1", "127.0.0.1")).toBe(true);
      expect(counted()).toEqual({});
    });

    test("counts the one direction in plaintext while the other is encrypted", () => {
      route("tunnel");
      expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(true);
      expect(counted()).toEqual({ "pods4_in 10.2.0.0/24": 1 });
    });

    test("never counts or drops the tunnel's own packets, and trusts the mark of no other packets", () => {
      const sync = (nodes: readonly string[]) =>
        nftables.sync(firewallTable({ ...firewall, nodes: [...firewall.nodes, ...nodes], strict: true }));
      sync([]);
      const inNode = (...words: string[]) => Bun.spawnSync(["ip", "netns", "exec", node.name, ...words]);
      inNode("ping", "-n", "-c", "1", "-W", "1", "-m", String(0x20000000), "10.2.0.5");
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 1 });
      // As the devices send: with the mark, from one of their ports.
      inNode(
        "nft",
        "add table inet marks; add chain inet marks c { type route hook output priority -400; };",
      );
      inNode("nft", "add rule inet marks c udp sport 51821 meta mark set 0x20000000");
      const send = (bytes: string) =>
        inNode(
          process.execPath,
          "-e",
          `const s = require("dgram").createSocket("udp4").bind(51821, () => s.send(Buffer.from("${bytes}", "hex"), 9, "10.2.0.5", () => s.close()))`,
        );
      // To a pod goes no encrypted packet, whatever it looks like.
      send("0400000000000000");
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 2 });
      // A node whose address lies among the pods': what looks encrypted leaves uncounted, and nothing else.
      sync(["10.2.0.5"]);
      send("0400000000000000");
      send("78");
      inNode("nft", "delete table inet marks");
      // The answer in plaintext, that no process listens there, was dropped.
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 3, "pods4_in 10.2.0.0/24": 1 });
    });

    test("strict drops what it counts, in both directions", () => {
      nftables.sync(firewallTable({ ...firewall, strict: true }));
      expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(false);
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 1 });
      expect(ping(remote, "fd02::5", "fd01::5")).toBe(false);
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 1, "pods6_in fd02::/64": 1 });
      answer("tunnel");
      route("tunnel");
      expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(true);
      expect(ping(pod, "fd01::5", "fd02::5")).toBe(true);
      // Hosts talk to each other outside the tunnel.
      expect(ping(remote, "10.0.0.2", "10.0.0.1")).toBe(true);
    });

    test("counters of the elements that stay go on, whatever else changes", () => {
      ping(pod, "10.1.0.5", "10.2.0.5");
      const pods = [firewall.pods[0], "10.3.0.0/16"] as Firewall["pods"];
      nftables.sync(firewallTable({ ...firewall, pods, nodes: [], strict: true }));
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 1, "pods4_in 10.2.0.0/24": 1 });
      nftables.sync(firewallTable(firewall));
      ping(pod, "10.1.0.5", "10.2.0.5");
      expect(counted()).toEqual({ "pods4_out 10.2.0.0/24": 2, "pods4_in 10.2.0.0/24": 2 });
    });

    test("permissive marks what arrives in plaintext, so that strict reverse-path filtering lets it in", () => {
      // We encrypt, the remote node does not yet: its answers come in on the wrong device.
      route("tunnel");
      const set = (value: number) =>
        inside(
          node,
          `cd /proc/sys/net/ipv4/conf; echo ${value} > up0/rp_filter; echo ${value} > all/src_valid_mark`,
        );
      set(1);
      try {
        expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(true);
        nftables.delete(ourTable);
        expect(ping(pod, "10.1.0.5", "10.2.0.5")).toBe(false);
      } finally {
        set(0);
      }
    });

    test("both modes mark packets of remote nodes unless they are for this node itself, and no other bits", () => {
      const witness = `add table inet witness; add chain inet witness c { type filter hook prerouting priority -299; };
        add rule inet witness c ip saddr 10.0.0.2 meta mark 0x60000000 counter comment "marked";
        add rule inet witness c ip saddr 10.0.0.2 meta mark 0 counter comment "plain"`;
      run(["ip", "netns", "exec", node.name, "nft", witness]);
      expect(ping(remote, "10.0.0.2", "10.1.0.5")).toBe(true);
      expect(ping(remote, "10.0.0.2", "10.0.0.1")).toBe(true);
      const shown = run(["ip", "netns", "exec", node.name, "nft", "list table inet witness"]);
      run(["ip", "netns", "exec", node.name, "nft", "delete table inet witness"]);
      expect(shown).toMatch(/packets 1 bytes 84 comment "marked"/);
      expect(shown).toMatch(/packets 1 bytes 84 comment "plain"/);
    });

    test("packets that arrive while the table is made again are not refused as strays", async () => {
      answer("tunnel");
      route("tunnel");
      // The more elements, the longer the kernel takes to make them visible.
      const many = Array.from({ length: 500 }, (_, i) => `10.3.${i >> 1}.${(i & 1) * 128}/25`);
      const table = firewallTable({ ...firewall, pods: [...firewall.pods, ...many] });
      const flood = ["ping", "-q", "-f", "-I", "10.2.0.5", "10.1.0.5"];
      const before = refusals(remote);
      const senders = [1, 2].map(() =>
        Bun.spawn(["ip", "netns", "exec", remote.name, ...flood], { stdout: "ignore", stderr: "ignore" }),
      );
      try {
        for (let i = 0; i < 60; i++) {
          nftables.delete(ourTable);
          nftables.sync(table);
        }
      } finally {
        for (const sender of senders) sender.kill("SIGKILL");
        await Promise.all(senders.map(({ exited }) => exited));
      }
      expect(refusals(remote)).toBe(before);
      expect(ping(remote, "10.2.0.5", "10.1.0.5")).toBe(true);
    });

    test.each([
      ["leaves", "pod", "10.1.0.5", "10.2.0.5"],
      ["arrives", "remote", "10.2.0.5", "10.1.0.5"],
    ] as const)(
      "TCP's segment size is clamped where a connection %s by our device",
      async (_how, from, source, to) => {
        answer("tunnel");
        route("tunnel");
        const [here, there, dev] = from === "pod" ? [pod, remote, "tunnel"] : [remote, pod, "eth0"];
        const watch = [
          "tcpdump",
          "-i",
          dev,
          "-n",
          "-l",
          "--immediate-mode",
          "-U",
          "-Z",
          "root",
          "-c",
          "1",
          "tcp[tcpflags] == tcp-syn",
        ];
        const capture = Bun.spawn(["ip", "netns", "exec", there.name, ...watch], {
          stdout: "pipe",
          stderr: "pipe",
        });
        // Its first line says that it listens.
        await capture.stderr.getReader().read();
        const dial = `require("net").connect({ host: "${to}", port: 9, localAddress: "${source}" }).on("error", () => {})`;
        Bun.spawnSync(["ip", "netns", "exec", here.name, process.execPath, "-e", dial], { timeout: 3000 });
        const bound = setTimeout(() => capture.kill(), 5000);
        const seen = await new Response(capture.stdout).text();
        clearTimeout(bound);
        // 1420 less the headers of IPv4 and TCP; the interfaces of both ends would say 1460.
        expect(seen).toContain("mss 1380");
      },
    );
  },
  missing.length === 0 ? undefined : `${missing.join(", ")} missing`,
);
