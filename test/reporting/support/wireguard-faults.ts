// Faults of the WireGuard devices: keys, peers, ports, the devices themselves, and the processes behind them.
import { killBehind } from "../../kernel/support/mesh-reference.ts";
import { devices, eachDevice, type Fault } from "./fault.ts";

/** Shell text: the public key of the peer that has 10.244.2.0/24. */
const peerKey = (dev: string) => `$(wg show ${dev} allowed-ips | awk '/10.244.2.0/ {print $1}')`;
const withPeer = (dev: string, words: string) =>
  `key="${peerKey(dev)}"; [ -z "$key" ] || wg set ${dev} peer "$key" ${words}`;
const foreign = (rest: string, dev = "wg-cni-a") => `wg set ${dev} peer $(wg genkey | wg pubkey) ${rest}`;
const replaceKeys = eachDevice(
  (dev) => `wg genkey >/run/other.key; wg set ${dev} private-key /run/other.key`,
);
const changePorts = ["wg set wg-cni-a listen-port 40001", "wg set wg-cni-b listen-port 40002"];
const setDown = eachDevice((dev) => `ip link set ${dev} down`);

export const keyAndPeerFaults: readonly Fault[] = [
  { name: "private keys replaced", kind: "keys", script: replaceKeys },
  { name: "private keys replaced, agent dead", kind: "keys", script: replaceKeys, agent: "killed" },
  { name: "peer removed", kind: "peers", script: eachDevice((dev) => withPeer(dev, "remove")) },
  {
    name: "peer removed, agent dead",
    kind: "peers",
    script: eachDevice((dev) => withPeer(dev, "remove")),
    agent: "killed",
  },
  {
    name: "allowed IPs of the peer emptied, agent dead",
    kind: "peers",
    script: eachDevice((dev) => withPeer(dev, "allowed-ips ''")),
    agent: "killed",
  },
  {
    name: "peer of another program on a device",
    kind: "peers",
    script: [foreign("allowed-ips 198.51.100.0/24")],
  },
  {
    name: "peer of another program takes the pods",
    kind: "peers",
    script: eachDevice((dev) => foreign("allowed-ips 10.244.2.0/24", dev)),
  },
  {
    name: "peer of another program takes the pods, agent dead",
    kind: "peers",
    script: eachDevice((dev) => foreign("allowed-ips 10.244.2.0/24", dev)),
    agent: "killed",
  },
  // A packet of the peer would bring its endpoint back.
  {
    name: "endpoint of the peer set wrong, pods are silent",
    kind: "peers",
    script: eachDevice((dev) => withPeer(dev, "endpoint 192.0.2.99:51820")),
    hasTraffic: false,
  },
  {
    name: "endpoint of the peer set wrong, agent dead",
    kind: "peers",
    script: eachDevice((dev) => withPeer(dev, "endpoint 192.0.2.99:51820")),
    agent: "killed",
    knownAfterS: 60,
  },
];

export const deviceFaults: readonly Fault[] = [
  { name: "listening ports changed", kind: "ports", script: changePorts },
  { name: "listening ports changed, agent dead", kind: "ports", script: changePorts, agent: "killed" },
  { name: "devices set down", kind: "devices", script: setDown },
  { name: "devices set down, agent dead", kind: "devices", script: setDown, agent: "killed" },
  { name: "a device deleted", kind: "devices", script: ["ip link delete wg-cni-a"] },
  {
    name: "devices moved to another namespace",
    kind: "devices",
    // Their processes keep the ports, so that no others can be made.
    script: ["ip netns add elsewhere", ...devices.map((dev) => `ip link set ${dev} netns elsewhere`)],
    undo: ({ node }) => node.must(["ip", "netns", "delete", "elsewhere"]),
  },
  { name: "userspace devices killed", kind: "processes", script: devices.map(killBehind) },
  {
    name: "userspace devices killed, agent dead",
    kind: "processes",
    script: devices.map(killBehind),
    agent: "killed",
  },
];
