// Everything that the agent makes or holds in the kernel, each with a shell line that damages it on a node
// whose one peer is n2. Each line is one change to the kernel, so that one pass repairs it.

export interface Damage {
  readonly what: string;
  readonly script: string;
}

const peerOf = (dev: string) => `$(wg show ${dev} peers | head -n 1)`;
const ownRule = (family: 4 | 6, priority: number) =>
  `ip -${family} rule delete $(ip -${family} rule | sed -n 's/^${priority}:/priority ${priority}/p' | head -n 1 | sed 's/\\[.*//')`;
const noKey = "$(wg genkey | wg pubkey)";
const setSysctl = (path: string, value: number) => `echo ${value} >/proc/sys/net/${path}`;

/** Of links, addresses, rules, routes and tables, changes of which the kernel tells. */
export const toldDamages: readonly Damage[] = [
  { what: "a device is down", script: "ip link set wg-cni-a down" },
  { what: "a device has another MTU", script: "ip link set wg-cni-b mtu 1300" },
  { what: "a device is deleted", script: "ip link delete wg-cni-b" },
  { what: "an address is deleted", script: "ip address delete 192.0.2.1/32 dev wg-cni-a" },
  { what: "an address of IPv6 is deleted", script: "ip address delete 2001:db8::1/128 dev wg-cni-b" },
  { what: "an address is on a device", script: "ip address add 198.51.100.9/32 dev wg-cni-a" },
  { what: "an address of a pod here is on a device", script: "ip address add 10.244.1.9/32 dev wg-cni-a" },
  { what: "the same of IPv6", script: "ip address add fd00:10:244:1::9/128 dev wg-cni-b nodad" },
  ...([4, 6] as const).flatMap((family) =>
    [97, 98, 99, 100].map((priority) => ({
      what: `a rule of IPv${family} at priority ${priority} is deleted`,
      script: ownRule(family, priority),
    })),
  ),
  { what: "a rule of another program leads to our table", script: "ip -6 rule add priority 50 lookup 18099" },
  { what: "a route into the tunnel is deleted", script: "ip route delete 10.244.2.0/24 table 18099" },
  {
    what: "a route of IPv6 into the tunnel is deleted",
    script: "ip -6 route delete fd00:10:244:2::/64 table 18099",
  },
  { what: "a route to a node is deleted", script: "ip route delete 192.0.2.2 table 18098" },
  { what: "a route of IPv6 to a node is deleted", script: "ip -6 route delete 2001:db8::2 table 18098" },
  {
    what: "a route to a node that encrypts itself is deleted",
    script: "ip route delete 192.0.2.2 table 18099",
  },
  { what: "a throw route is deleted", script: "ip route delete throw 10.244.1.0/24 table 18099" },
  {
    what: "a throw route of IPv6 is deleted",
    script: "ip -6 route delete throw fd00:10:244:1::/64 table 18099",
  },
  {
    what: "a route of IPv6 is of another type",
    script: "ip -6 route replace blackhole fd00:10:244:2::/64 table 18099 proto 118",
  },
  { what: "a route of another program is in our table", script: "ip route add default dev eth0 table 18099" },
  { what: "a table of routes is flushed", script: "ip route flush table 18098" },
  { what: "nftables is flushed", script: "nft flush ruleset" },
  { what: "a table is deleted", script: "nft delete table inet wg-cni" },
  { what: "the table of ARP is deleted", script: "nft delete table arp wg-cni" },
  { what: "a chain is flushed", script: "nft flush chain inet wg-cni prerouting" },
  {
    what: "a rule is inserted",
    script: "nft insert rule inet wg-cni prerouting ip saddr 10.244.2.0/24 accept",
  },
  { what: "an element is removed", script: "nft delete element inet wg-cni pods4_out { 10.244.2.0/24 }" },
  {
    what: "an element is added",
    script: "nft add element inet wg-cni pods6_in { fd00:10:244:9::/64 }",
  },
  { what: "a set is flushed", script: "nft flush set inet wg-cni pods4_in" },
  { what: "the filter of a device is strict", script: setSysctl("ipv4/conf/wg-cni-a/rp_filter", 1) },
  { what: "the filter of a device is off", script: setSysctl("ipv4/conf/wg-cni-b/rp_filter", 0) },
  { what: "a device forwards nothing", script: setSysctl("ipv4/conf/wg-cni-a/forwarding", 0) },
];

/** Of devices of WireGuard and of sysctls, changes of which the kernel tells nobody. A unit test has every property. */
export const untoldDamages: readonly Damage[] = [
  { what: "a device has another key", script: "wg genkey >/run/key; wg set wg-cni-a private-key /run/key" },
  { what: "a peer is added", script: `wg set wg-cni-b peer ${noKey} allowed-ips 203.0.113.7/32` },
  { what: "a peer is removed", script: `wg set wg-cni-a peer ${peerOf("wg-cni-a")} remove` },
  { what: "the marks of a strict uplink are off", script: setSysctl("ipv4/conf/eth0/src_valid_mark", 0) },
  {
    what: "many others at once",
    script: [
      "wg set wg-cni-b private-key /dev/null",
      "wg set wg-cni-a listen-port 40000",
      "wg set wg-cni-b fwmark 0x99",
      `wg set wg-cni-b peer ${peerOf("wg-cni-b")} allowed-ips 203.0.113.8/32 persistent-keepalive 77`,
      "wg genpsk >/run/psk",
      `wg set wg-cni-a peer ${peerOf("wg-cni-a")} preshared-key /run/psk`,
      `wg set wg-cni-a peer ${noKey} allowed-ips 10.244.2.0/24`,
      "echo >/proc/sys/net/ipv4/ip_local_reserved_ports",
    ].join("; "),
  },
];

/** Another endpoint of a peer. A packet of the peer itself would bring it back. */
export const endpointDamage: Damage = {
  what: "a peer has another endpoint",
  script: `wg set wg-cni-b peer ${peerOf("wg-cni-b")} endpoint 192.0.2.99:51821`,
};

/** Of strict mode alone. */
export const strictDamages: readonly Damage[] = [
  {
    what: "the refusal behind a tunnel is deleted",
    script: "ip route delete prohibit 10.244.2.0/24 table 18099",
  },
  {
    what: "the refusal of IPv6 behind a tunnel is deleted",
    script: "ip -6 route delete prohibit fd00:10:244:2::/64 metric 2147483647 table 18099",
  },
  {
    what: "the refusal of the cluster is deleted",
    script: "ip route delete prohibit 10.244.0.0/16 table 18098",
  },
  {
    what: "a throw route of the second table is deleted",
    script: "ip route delete throw 10.244.1.0/24 table 18098",
  },
  { what: "a chain that drops is flushed", script: "nft flush chain inet wg-cni postrouting" },
];
