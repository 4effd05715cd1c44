// Faults of what the product programs into the kernel beside the devices: rules, routes, tables, sets, sysctls.
import { deleteOwnRules, eachDevice, type Fault, flushFirewall, flushOwnRoutes } from "./fault.ts";
import type { FaultLab } from "./fault-lab.ts";

const withoutRule = ({ node }: FaultLab) => node.must(["ip", "rule", "delete", "priority", "90"]);

const localRule = ["ip", "rule", "add", "priority", "0", "lookup", "local"];
/** A table that leads everything back to the peer. */
const elsewhere = "77";

export const ruleFaults: readonly Fault[] = [
  { name: "nothing, a control", kind: "rules", blames: "nobody" },
  { name: "rules deleted", kind: "rules", script: deleteOwnRules },
  { name: "rules deleted, agent dead", kind: "rules", script: deleteOwnRules, agent: "killed" },
  {
    name: "rule of another program past the tunnel",
    kind: "rules",
    script: ["ip rule add priority 90 to 10.244.2.0/24 lookup main"],
    undo: withoutRule,
  },
  {
    name: "rule of another program that is harmless",
    kind: "rules",
    script: ["ip rule add priority 90 to 198.51.100.0/24 lookup main"],
    blames: "nobody",
    undo: withoutRule,
  },
  {
    name: "rule of another program leads answers away",
    kind: "rules",
    script: [
      `ip route add default via 192.0.2.2 table ${elsewhere}`,
      ...eachDevice((dev) => `ip rule add priority 90 iif ${dev} lookup ${elsewhere}`),
    ],
    undo: (faults) => {
      for (const _ of eachDevice((dev) => dev)) withoutRule(faults);
      faults.node.must(["ip", "route", "flush", "table", elsewhere]);
    },
  },
  {
    name: "rule for this node's addresses deleted",
    kind: "rules",
    // The answers of the API server do not arrive either.
    isOffline: true,
    script: ["ip rule delete priority 0"],
    undo: ({ node }) => node.must(localRule),
  },
];

export const routeFaults: readonly Fault[] = [
  { name: "routes flushed", kind: "routes", script: flushOwnRoutes },
  { name: "routes flushed, agent dead", kind: "routes", script: flushOwnRoutes, agent: "killed" },
  {
    name: "route to the peer made unreachable, agent dead",
    kind: "routes",
    script: ["ip route replace unreachable 10.244.2.0/24 table 18099"],
    agent: "killed",
  },
  {
    name: "route to the peer's endpoint made unreachable",
    kind: "routes",
    script: ["ip route add unreachable 192.0.2.2/32"],
    undo: ({ node }) => node.must(["ip", "route", "delete", "unreachable", "192.0.2.2/32"]),
  },
];

export const firewallTableFaults: readonly Fault[] = [
  { name: "nftables flushed", kind: "tables", script: [flushFirewall] },
  { name: "nftables flushed, agent dead", kind: "tables", script: [flushFirewall], agent: "killed" },
  { name: "nftables and rules flushed", kind: "tables", script: [flushFirewall, ...deleteOwnRules] },
  { name: "sets of peers' pods flushed", kind: "sets", script: flushPodSets() },
  {
    name: "sets of peers' pods flushed and rules deleted",
    kind: "sets",
    script: [...flushPodSets(), ...deleteOwnRules],
  },
  { name: "sets of peers' pods flushed, agent dead", kind: "sets", script: flushPodSets(), agent: "killed" },
];

export const sysctlFaults: readonly Fault[] = [
  {
    name: "reverse-path filter set strict on the devices",
    kind: "sysctls",
    script: eachDevice((dev) => `echo 1 >/proc/sys/net/ipv4/conf/${dev}/rp_filter`),
  },
  {
    name: "forwarding switched off",
    kind: "sysctls",
    script: ["echo 0 >/proc/sys/net/ipv4/ip_forward"],
  },
  {
    name: "forwarding switched off on the devices",
    kind: "sysctls",
    script: eachDevice((dev) => `echo 0 >/proc/sys/net/ipv4/conf/${dev}/forwarding`),
  },
];

/** Strict mode: nothing may leave in plaintext, with or without an agent. */
export const strictFaults: readonly Fault[] = [
  { name: "strict, nothing, a control", kind: "rules", blames: "nobody" },
  { name: "strict, rules deleted", kind: "rules", script: deleteOwnRules },
  { name: "strict, rules deleted, agent dead", kind: "rules", script: deleteOwnRules, agent: "killed" },
  { name: "strict, routes flushed, agent dead", kind: "routes", script: flushOwnRoutes, agent: "killed" },
  {
    name: "strict, nftables and rules flushed",
    kind: "tables",
    script: [flushFirewall, ...deleteOwnRules],
  },
  {
    name: "strict, nftables and rules flushed, agent dead",
    kind: "tables",
    script: [flushFirewall, ...deleteOwnRules],
    agent: "killed",
  },
];

function flushPodSets(): string[] {
  return [4, 6].flatMap((family) =>
    ["in", "out"].map((direction) => `nft flush set inet wg-cni pods${family}_${direction}`),
  );
}
