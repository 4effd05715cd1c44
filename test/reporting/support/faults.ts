// Faults that are made on node 1, or between it and node 2, as a table. Each row says what is done, from
// when on a report must know of it, and what takes it back if no remedy of the product does.
import { devices, killBehind } from "../../kernel/support/mesh-reference.ts";
import type { FaultLab } from "./fault-lab.ts";

export interface Fault {
  /** Subject and fault in a few words; unique. */
  readonly name: string;
  /** Shell lines on node 1. */
  readonly script?: readonly string[];
  /** What else is done. */
  readonly make?: (faults: FaultLab) => unknown;
  /** What becomes of the agent before the fault is made; it runs unless told. */
  readonly agent?: "killed" | "stopped";
  /** From when on reports must know of it: at once, unless it is at another node. */
  readonly knownAfterS?: number;
  /** Takes it back, if it is not for the product to mend: another program's rule, a firewall. */
  readonly undo?: (faults: FaultLab) => unknown;
}

const eachDevice = (line: (dev: string) => string) => devices.map(line);
const ownRules = [
  ...[4, 6].map(
    (family) =>
      `ip -${family} rule show | sed -n 's/^\\([0-9]*\\):.*proto 118.*/\\1/p' | while read p; do ip -${family} rule delete priority $p; done`,
  ),
];
const ownRoutes = ["ip route flush table 18099", "ip -6 route flush table 18099"];
/** Shell text: the public key of the peer that has 10.244.2.0/24. */
const peerKey = (dev: string) => `$(wg show ${dev} allowed-ips | awk '/10.244.2.0/ {print $1}')`;
const withPeer = (dev: string, words: string) =>
  `key="${peerKey(dev)}"; [ -z "$key" ] || wg set ${dev} peer "$key" ${words}`;
const foreign = (rest: string, dev = "wg-cni-a") => `wg set ${dev} peer $(wg genkey | wg pubkey) ${rest}`;
const block = (hook: string, rule: string) => [
  "nft add table inet block",
  `nft 'add chain inet block ${hook} { type filter hook ${hook} priority 0; }'`,
  `nft 'add rule inet block ${hook} ${rule}'`,
];
const unblock = "nft delete table inet block";
const ports = "{ 51820, 51821 }";

/** What is in the kernel of the node. */
export const kernelFaults: readonly Fault[] = [
  { name: "nothing, a control" },
  { name: "rules deleted", script: ownRules },
  { name: "rules deleted, agent dead", script: ownRules, agent: "killed" },
  { name: "routes flushed", script: ownRoutes },
  { name: "routes flushed, agent dead", script: ownRoutes, agent: "killed" },
  {
    name: "route to the peer made unreachable, agent dead",
    script: ["ip route replace unreachable 10.244.2.0/24 table 18099"],
    agent: "killed",
  },
  {
    name: "rule of another program past the tunnel",
    script: ["ip rule add priority 90 to 10.244.2.0/24 lookup main"],
    undo: ({ node }) => node.must(["ip", "rule", "delete", "priority", "90"]),
  },
  {
    name: "rule of another program that is harmless",
    script: ["ip rule add priority 90 to 198.51.100.0/24 lookup main"],
    undo: ({ node }) => node.must(["ip", "rule", "delete", "priority", "90"]),
  },
  {
    name: "devices set down, agent dead",
    script: eachDevice((dev) => `ip link set ${dev} down`),
    agent: "killed",
  },
  { name: "devices set down", script: eachDevice((dev) => `ip link set ${dev} down`) },
  { name: "nftables flushed", script: ["nft flush ruleset"] },
  { name: "nftables flushed, agent dead", script: ["nft flush ruleset"], agent: "killed" },
  {
    name: "nftables and rules flushed",
    script: ["nft flush ruleset", ...ownRules],
  },
  {
    name: "reverse-path filter set strict on the devices",
    script: eachDevice((dev) => `echo 1 >/proc/sys/net/ipv4/conf/${dev}/rp_filter`),
  },
  {
    name: "forwarding switched off",
    script: ["echo 0 >/proc/sys/net/ipv4/ip_forward"],
    undo: ({ node }) => node.script(["echo 1 >/proc/sys/net/ipv4/ip_forward"]),
  },
];

/** What is in WireGuard's devices. */
export const wireguardFaults: readonly Fault[] = [
  { name: "peer removed", script: eachDevice((dev) => withPeer(dev, "remove")) },
  {
    name: "peer removed, agent dead",
    script: eachDevice((dev) => withPeer(dev, "remove")),
    agent: "killed",
  },
  {
    name: "allowed IPs of the peer emptied, agent dead",
    script: eachDevice((dev) => withPeer(dev, "allowed-ips ''")),
    agent: "killed",
  },
  {
    name: "private keys replaced",
    script: eachDevice((dev) => `wg genkey >/run/other.key; wg set ${dev} private-key /run/other.key`),
  },
  {
    name: "private keys replaced, agent dead",
    script: eachDevice((dev) => `wg genkey >/run/other.key; wg set ${dev} private-key /run/other.key`),
    agent: "killed",
  },
  {
    name: "listening ports changed",
    script: ["wg set wg-cni-a listen-port 40001", "wg set wg-cni-b listen-port 40002"],
  },
  {
    name: "listening ports changed, agent dead",
    script: ["wg set wg-cni-a listen-port 40001", "wg set wg-cni-b listen-port 40002"],
    agent: "killed",
  },
  { name: "peer of another program on a device", script: [foreign("allowed-ips 198.51.100.0/24")] },
  {
    name: "peer of another program takes the pods, agent dead",
    script: eachDevice((dev) => foreign("allowed-ips 10.244.2.0/24", dev)),
    agent: "killed",
  },
  {
    name: "peer of another program takes the pods",
    script: eachDevice((dev) => foreign("allowed-ips 10.244.2.0/24", dev)),
  },
  { name: "userspace devices killed", script: devices.map(killBehind) },
  { name: "userspace devices killed, agent dead", script: devices.map(killBehind), agent: "killed" },
  {
    name: "endpoint of the peer set wrong, agent dead",
    script: eachDevice((dev) => withPeer(dev, "endpoint 192.0.2.99:51820")),
    agent: "killed",
    knownAfterS: 60,
  },
];

/** Strict mode: nothing may leave in plaintext, with or without an agent. */
export const strictFaults: readonly Fault[] = [
  { name: "strict, nothing, a control" },
  { name: "strict, rules deleted", script: ownRules },
  { name: "strict, rules deleted, agent dead", script: ownRules, agent: "killed" },
  { name: "strict, routes flushed, agent dead", script: ownRoutes, agent: "killed" },
  { name: "strict, nftables and rules flushed", script: ["nft flush ruleset", ...ownRules] },
  {
    name: "strict, nftables and rules flushed, agent dead",
    script: ["nft flush ruleset", ...ownRules],
    agent: "killed",
  },
];

/** What is around the node. */
export const hostFaults: readonly Fault[] = [
  { name: "agent killed", agent: "killed" },
  { name: "agent stopped", agent: "stopped" },
  { name: "agent of the peer killed", make: ({ trio }) => trio.agents[1].kill() },
  {
    name: "firewall of the peer drops UDP",
    make: ({ peer }) => peer.script(block("input", `udp dport ${ports} drop`)),
    knownAfterS: 60,
    undo: ({ peer }) => peer.script([unblock]),
  },
  {
    name: "firewall of the node drops UDP on the way out",
    script: block("output", `udp sport ${ports} drop`),
    knownAfterS: 60,
    undo: ({ node }) => node.script([unblock]),
  },
  {
    name: "uplink down",
    script: ["ip link set eth0 down"],
    knownAfterS: 60,
    undo: ({ node }) =>
      node.script(["ip link set eth0 up", `ip -4 route replace default via ${node.gateways[4]} dev eth0`]),
  },
  {
    name: "state directory full",
    script: [
      "mount -o remount,size=1m /var/lib",
      "dd if=/dev/zero of=/var/lib/fill bs=4k 2>/dev/null || true",
    ],
    undo: ({ node }) => node.script(["rm -f /var/lib/fill", "mount -o remount,size=50% /var/lib"]),
  },
  {
    name: "record of the peer deleted",
    make: ({ server, peer }) => server.admin.remove(recordOf(peer.name)),
  },
  { name: "wg-cni down beside a running agent", make: ({ node }) => node.wg(["down"]) },
];

function recordOf(name: string): string {
  return `/apis/wg-cni.dev/v1alpha1/wireguardnodes/${name}`;
}
