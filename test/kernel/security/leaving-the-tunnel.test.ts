// A peer with root sends whatever it likes through the tunnel: to networks behind the
// receiver, to services that only the receiver itself should reach, to another peer. Only
// the receiver's node IPs and pods are reached, whatever it would translate on the way.
//
//   n1, hostile ── tunnel ── n2 ──┬── p2, a pod
//                                 ├── lo, nodelocaldns: link-local services
//                                 ├── docker0: a container that is no pod
//                                 ├── lan1: a second network
//                                 ├── eth0: the gateway and what is behind it
//                                 └── tunnel: n3
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Family } from "../../../src/net/ip.ts";
import { gateways } from "../../lab/lab.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { forge } from "../support/forger.ts";
import { describeKernel } from "../support/gate.ts";
import { addPod, setReversePath } from "../support/hosts.ts";
import { addNode, wgDump, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
/** The table in which n1 looks up its hostile packets. */
const table = 4242;
/** Of n1's pod CIDR: n2 takes from the tunnel what comes from it. */
const podSource = { 4: "10.244.1.77", 6: "fd00:10:244:1::77" } as const;

/** Destinations that a peer must not reach, by their relation to n2. */
const forbidden: Readonly<Record<string, Readonly<Partial<Record<Family, string>>>>> = {
  "loopback, which route_localnet opens": { 4: "127.0.0.1" },
  "a metadata service on lo": { 4: "169.254.169.254", 6: "fd00:ec2::254" },
  "a node-local DNS": { 4: "169.254.20.10", 6: "fd00:20::10" },
  "a further address of the uplink": { 4: "192.0.2.99", 6: "2001:db8::99" },
  "the address of a bridge": { 4: "172.17.0.1", 6: "fd00:17::1" },
  "a container behind the bridge": { 4: "172.17.0.2", 6: "fd00:17::2" },
  "a host of a second network": { 4: "198.51.100.7", 6: "2001:db8:51::7" },
  "a service's address, which n2 translates": { 4: "198.18.0.1", 6: "2001:db8:18::1" },
  "the gateway": gateways,
  "the world": { 4: "203.0.113.9", 6: "2001:db8:113::9" },
  "another peer": { 4: "192.0.2.3", 6: "2001:db8::3" },
  "another peer's pod": { 4: "10.244.3.9", 6: "fd00:10:244:3::9" },
  multicast: { 4: "224.0.0.1", 6: "ff02::1" },
  broadcast: { 4: "255.255.255.255" },
};

describeKernel("what leaves the tunnel", () => {
  setDefaultTimeout(60_000);
  const lab = withLab("leaving");
  let n1: Node;
  let n2: Node;
  let p2: Pod;
  let capturedHere: (family: Family) => string[];

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    await joinMesh([n1, n2, await addNode(lab, 3)]);
    p2 = await addPod(n2, "p2", "standalone");
    surround(n2);
    turnHostile(n1, n2);
    capturedHere = (family) => reached(n2, family);
  });
  const targets = (family: Family) => Object.values(forbidden).flatMap((target) => target[family] ?? []);
  const legal = (family: Family) => [n2.ip(family) as string, p2.ip(family)];
  /** One packet to each, from the node and in the name of a pod of it; which of them got beyond n2's first chain. */
  const knock = (family: Family): string[] => {
    n2.script([`nft flush set inet witness reached${family}`]);
    const all = [...targets(family), ...legal(family)];
    const pings = all.flatMap((to) =>
      ["wg-cni-a", podSource[family]].map(
        (from) => `ping -${family} -n -b -c 1 -W 0.3 -I ${from} ${to} >/dev/null 2>&1 &`,
      ),
    );
    // IPv6 knows no broadcast.
    n1.script([pings.join("\n").replaceAll(family === 6 ? " -b" : "\0", ""), "wait"]);
    return capturedHere(family);
  };

  /** How many packets n2 says that it has refused. */
  const countStrays = async () => {
    const { stdout } = await n2.wg(["status", "--json"]);
    const { strayPackets } = JSON.parse(stdout) as { strayPackets: readonly { packets: number }[] };
    return strayPackets.reduce((sum, { packets }) => sum + packets, 0);
  };

  test.each([
    ["off", 2],
    ["permissive", 0],
    ["permissive", 1],
    ["strict", 0],
    ["strict", 1],
  ])(
    "%s, rp_filter %i: reaches the node's own addresses and its pods, and nothing else",
    async (mode, filter) => {
      setReversePath(n2, filter);
      await wgMust(n2, ["up", "--mode", mode]);
      for (const family of families) {
        const before = await countStrays();
        expect(knock(family)).toEqual(legal(family).sort());
        expect((await countStrays()) - before).toBeGreaterThanOrEqual(targets(family).length);
      }
    },
  );

  test("a source route does not lead on from the node's own address", async () => {
    setReversePath(n2, 0);
    n2.script(["all", "wg-cni-a"].map((dev) => `echo 1 >/proc/sys/net/ipv4/conf/${dev}/accept_source_route`));
    const [to, via] = [forbidden["a host of a second network"]?.[4] as string, n2.ip(4) as string];
    const send = () => forge(n1, [{ to, via, dev: "wg-cni-a", sourcePort: 9, port: 9, payload: "00" }]);
    const forwarded = () => {
      const counters = n2.must(["nft", "list", "counters", "table", "inet", "witness"]);
      return Number(/packets (\d+)/.exec(counters)?.[1]);
    };
    const before = [forwarded(), await countStrays()] as const;
    send();
    await waitUntil(async () => (await countStrays()) > before[1], { what: "node 2 counts a stray packet" });
    expect([forwarded() - before[0], (await countStrays()) - before[1]]).toEqual([0, 1]);
    n2.script(["nft flush chain inet wg-cni passing"]);
    send();
    await waitUntil(() => forwarded() > before[0], { what: "node 2 forwards the packet" });
  });

  test("the control: without the table, all of it is reached", async () => {
    n2.script(["nft delete table inet wg-cni"]);
    setReversePath(n2, 0);
    for (const family of families) {
      // A translated packet is recognised by its translated address.
      const translated = forbidden["a service's address, which n2 translates"]?.[family];
      const wanted = [...targets(family), ...legal(family)].filter((ip) => ip !== translated);
      expect(knock(family)).toEqual(expect.arrayContaining(wanted));
    }
  });
});

/** Sets up the surroundings of a node, its translations, and captures of delivered packets. */
function surround(node: Node): void {
  const has = (dev: string, ip4: string, ip6: string) => [
    `ip address add ${ip4} dev ${dev}`,
    `ip address add ${ip6} dev ${dev} nodad`,
  ];
  node.script([
    "ip link add docker0 type bridge && ip link set docker0 up",
    "ip link add nodelocaldns type bridge && ip link set nodelocaldns up",
    "ip link add lan1 type bridge && ip link set lan1 up",
    ...has("lo", "169.254.169.254/32", "fd00:ec2::254/128"),
    ...has("nodelocaldns", "169.254.20.10/32", "fd00:20::10/128"),
    ...has("eth0", "192.0.2.99/24", "2001:db8::99/64"),
    ...has("docker0", "172.17.0.1/16", "fd00:17::1/64"),
    ...has("lan1", "198.51.100.1/24", "2001:db8:51::1/64"),
    "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet",
    "echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts",
  ]);
  const rules = families.flatMap((family) => {
    const ip = family === 4 ? "ip" : "ip6";
    const network = family === 4 ? "10.244.0.0/16" : "fd00:10:244::/48";
    const service = forbidden["a service's address, which n2 translates"]?.[family];
    const container = forbidden["a container behind the bridge"]?.[family];
    return [
      `add table ${ip} proxy`,
      `add chain ${ip} proxy prerouting { type nat hook prerouting priority dstnat; }`,
      `add chain ${ip} proxy postrouting { type nat hook postrouting priority srcnat; }`,
      `add rule ${ip} proxy prerouting ${ip} daddr ${service} dnat to ${container}`,
      // As "pods to the outside" is translated, and with it what a peer sends in the name of a pod.
      `add rule ${ip} proxy postrouting ${ip} saddr ${network} ${ip} daddr != ${network} masquerade`,
    ];
  });
  const witness = [
    "add table inet witness",
    "add counter inet witness source_routed",
    ...families.map(
      (family) => `add set inet witness reached${family} { type ipv${family}_addr; flags dynamic; }`,
    ),
    ...["input", "forward"].flatMap((hook) => [
      `add chain inet witness ${hook} { type filter hook ${hook} priority 1000; }`,
      ...families.map((family) => {
        const ip = family === 4 ? "ip" : "ip6";
        return `add rule inet witness ${hook} iifname "wg-cni-*" add @reached${family} { ${ip} daddr }`;
      }),
    ]),
  ];
  witness.push(
    'add rule inet witness forward iifname "wg-cni-*" ip option lsrr exists counter name source_routed',
  );
  node.must(["nft", "-f", "-"], { stdin: `${[...rules, ...witness].join("\n")}\n` });
}

/** All that `hostile` looks up for its device, or sends in the name of its pod, goes to the other node. */
function turnHostile(hostile: Node, victim: Node): void {
  const key = wgDump(victim)["wg-cni-a"]?.publicKey as string;
  hostile.script([
    "nft delete table inet wg-cni",
    ...Object.keys(wgDump(hostile)["wg-cni-a"]?.peers ?? {})
      .filter((other) => other !== key)
      .map((other) => `wg set wg-cni-a peer ${other} remove`),
    `wg set wg-cni-a peer ${key} allowed-ips 0.0.0.0/0,::/0`,
    ...families.flatMap((family) => [
      `ip address add ${podSource[family]} dev lo`,
      `ip -${family} route add default dev wg-cni-a table ${table}`,
      ...(family === 6 ? [`ip -6 route add multicast ff00::/8 dev wg-cni-a table ${table}`] : []),
      `ip -${family} rule add priority 1 oif wg-cni-a lookup ${table}`,
      `ip -${family} rule add priority 1 from ${podSource[family]} lookup ${table}`,
      // Its own loopback addresses too.
      `ip -${family} rule add priority 2 lookup local`,
      `ip -${family} rule delete priority 0`,
    ]),
  ]);
}

function reached(node: Node, family: Family): string[] {
  const { nftables } = JSON.parse(
    node.must(["nft", "-j", "list", "set", "inet", "witness", `reached${family}`]),
  ) as {
    nftables: readonly { set?: { elem?: string[] } }[];
  };
  return nftables.flatMap(({ set }) => set?.elem ?? []).sort();
}
