// Faults around the node: processes, records, firewalls, addresses, clocks and disks.
import { nodesPath, recordPath } from "../../cluster/support/nodes.ts";
import { keyOf } from "../../kernel/support/mesh-reference.ts";
import type { Fault } from "./fault.ts";
import type { FaultLab } from "./fault-lab.ts";

const block = (hook: string, rule: string) => [
  "nft add table inet block",
  `nft 'add chain inet block ${hook} { type filter hook ${hook} priority 0; }'`,
  `nft 'add rule inet block ${hook} ${rule}'`,
];
const unblock = "nft delete table inet block";
const ports = "{ 51820, 51821 }";
const blockPeer = ({ peer }: FaultLab) => peer.script(block("input", `udp dport ${ports} drop`));
const unblockPeer = ({ peer }: FaultLab) => peer.script([unblock]);
const unblockNode = ({ node }: FaultLab) => node.script([unblock]);

export const processFaults: readonly Fault[] = [
  { name: "agent killed", kind: "processes", agent: "killed" },
  { name: "agent stopped", kind: "processes", agent: "stopped", undo: ({ agent }) => agent.thaw() },
  {
    name: "agent of the peer killed",
    kind: "processes",
    make: ({ trio }) => trio.agents[1].kill(),
    blames: "nobody",
    undo: () => undefined,
  },
  {
    name: "`wg-cni down` beside a running agent",
    kind: "processes",
    make: ({ node }) => node.wg(["down"]),
    knownAfterS: 1,
  },
];

export const firewallFaults: readonly Fault[] = [
  {
    name: "firewall of the peer drops UDP",
    kind: "firewalls",
    ...{ make: blockPeer, undo: unblockPeer },
    // The peer's own packets still arrive: this node learns that the peer does not hear it when its record says so.
    ...{ knownAfterS: 60, blames: "peer" },
  },
  {
    name: "firewall of the node drops UDP on the way out",
    kind: "firewalls",
    script: block("output", `udp sport ${ports} drop`),
    knownAfterS: 60,
    undo: unblockNode,
  },
  {
    name: "firewall of the node drops UDP on the way in",
    kind: "firewalls",
    script: block("input", `udp dport ${ports} drop`),
    knownAfterS: 60,
    undo: unblockNode,
  },
  {
    // Connections that there are already keep their source.
    name: "source of the pods translated to a foreign address",
    kind: "firewalls",
    script: [
      "nft add table ip translate",
      "nft 'add chain ip translate post { type nat hook postrouting priority srcnat; }'",
      "nft 'add rule ip translate post ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/16 snat to 198.51.100.9'",
    ],
    knownAfterS: 5,
    undo: ({ node }) =>
      node.script([
        "nft delete table ip translate",
        // The product itself forgets the packets after a minute.
        "nft flush set inet wg-cni refused_destinations4",
      ]),
  },
  {
    name: "firewall of the peer drops UDP, pods are silent",
    kind: "firewalls",
    ...{ make: blockPeer, undo: unblockPeer },
    ...{ blames: "peer", hasTraffic: false, sampleAtS: [1, 5, 200], knownAfterS: 1000 },
  },
];

/** The routes that the lab has given the node go with the uplink's address. */
const saveRoutes = [4, 6].map(
  (family) => `ip -${family} route show dev eth0 proto boot >/run/routes${family}`,
);
const restoreRoutes = [4, 6].map(
  (family) => `while read route; do ip -${family} route replace $route dev eth0; done </run/routes${family}`,
);

export const addressFaults: readonly Fault[] = [
  {
    name: "uplink down",
    kind: "addresses",
    isOffline: true,
    script: [...saveRoutes, "ip link set eth0 down"],
    undo: ({ node }) =>
      node.script([
        "ip link set eth0 up",
        `ip address replace ${node.ip(6)}/64 dev eth0 nodad`,
        ...restoreRoutes,
      ]),
  },
  {
    name: "address of the node removed",
    kind: "addresses",
    script: [...saveRoutes, "ip address delete 192.0.2.1/24 dev eth0"],
    undo: ({ node }) => node.script(["ip address add 192.0.2.1/24 dev eth0", ...restoreRoutes]),
  },
  {
    name: "cable of the node pulled",
    kind: "addresses",
    isOffline: true,
    make: ({ lab, node }) => lab.wire.script([`ip link set ${node.name} down`]),
    undo: ({ lab, node }) => lab.wire.script([`ip link set ${node.name} up`]),
  },
  {
    name: "address of the node moved",
    kind: "addresses",
    make: ({ node, server }) => moveTo(node, server, { from: "192.0.2.1", to: "192.0.2.11" }),
    undo: ({ node, server }) => moveTo(node, server, { from: "192.0.2.11", to: "192.0.2.1" }),
    knownAfterS: 60,
  },
  {
    name: "address of the peer moved",
    kind: "addresses",
    make: ({ peer, server }) => moveTo(peer, server, { from: "192.0.2.2", to: "192.0.2.22" }),
    undo: ({ peer, server }) => moveTo(peer, server, { from: "192.0.2.22", to: "192.0.2.2" }),
    ...{ knownAfterS: 60, blames: "peer" },
  },
];

/** As DHCP and the kubelet do it. */
async function moveTo(
  node: FaultLab["node"],
  server: FaultLab["server"],
  { from, to }: { readonly from: string; readonly to: string },
): Promise<void> {
  node.script([
    ...saveRoutes,
    `ip address delete ${from}/24 dev eth0`,
    `ip address add ${to}/24 dev eth0`,
    ...restoreRoutes,
  ]);
  const addresses = [to, node.ip(6)].map((address) => ({ type: "InternalIP", address }));
  await server.admin.patch(`${nodesPath}/${node.name}/status`, {
    status: { addresses: [...addresses, { type: "Hostname", address: node.name }] },
  });
}

export const recordFaults: readonly Fault[] = [
  {
    name: "record of the peer deleted",
    kind: "records",
    make: ({ server, peer }) => server.admin.remove(recordPath(peer.name)),
  },
  {
    name: "record of the node deleted",
    kind: "records",
    make: ({ server, node }) => server.admin.remove(recordPath(node.name)),
  },
  {
    name: "record of the peer has a foreign key",
    kind: "records",
    make: (faults) => editRecord(faults, (spec) => ({ slots: spec.slots.map(withForeignKey) })),
    knownAfterS: 5,
  },
  {
    name: "pods taken out of the record of the peer",
    kind: "records",
    make: (faults) => editRecord(faults, () => ({ podCIDRs: [] })),
    knownAfterS: 5,
  },
];

interface Spec {
  readonly slots: readonly object[];
}

async function editRecord({ server, peer }: FaultLab, change: (spec: Spec) => object): Promise<void> {
  const path = recordPath(peer.name);
  const { spec } = (await server.admin.find(path)) as unknown as { spec: Spec };
  await server.admin.patch(path, { spec: change(spec) });
}

function withForeignKey(slot: object, index: number): object {
  return { ...slot, publicKey: keyOf(9000 + index) };
}

const stepClock =
  (ms: number) =>
  ({ node }: FaultLab) =>
    node.script([`echo ${ms} >/run/clock-offset`]);
const hourMs = 3_600_000;

/** The clock of the agent and of the commands is stepped; that of the WireGuard processes is not. */
export const clockFaults: readonly Fault[] = [
  { name: "clock set an hour ahead", kind: "clocks", make: stepClock(hourMs), undo: stepClock(0) },
  { name: "clock set an hour back", kind: "clocks", make: stepClock(-hourMs), undo: stepClock(0) },
];

export const diskFaults: readonly Fault[] = [
  {
    name: "state directory full",
    kind: "disks",
    script: [
      "mount -o remount,size=1m /var/lib",
      "dd if=/dev/zero of=/var/lib/fill bs=4k 2>/dev/null || true",
    ],
    undo: ({ node }) => node.script(["rm -f /var/lib/fill", "mount -o remount,size=50% /var/lib"]),
  },
  {
    // The files that the agent has open stay writable, whatever is mounted.
    name: "state directory read-only for commands",
    kind: "disks",
    script: ["mount --bind /var/lib /var/lib", "mount -o remount,ro,bind /var/lib"],
    undo: ({ node }) => node.script(["umount /var/lib"]),
  },
  {
    name: "state directory full and nftables flushed",
    kind: "disks",
    script: [
      "mount -o remount,size=1m /var/lib",
      "dd if=/dev/zero of=/var/lib/fill bs=4k 2>/dev/null || true",
      "nft flush ruleset",
    ],
    undo: ({ node }) => node.script(["rm -f /var/lib/fill", "mount -o remount,size=50% /var/lib"]),
  },
];
