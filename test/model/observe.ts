// Reads a node by iproute2, wg(8), nft(8) and SQLite, in one go, and puts it as the model can say it.
import { type PodName, podNames } from "./actions.ts";
import type { Machine } from "./machine.ts";
import { isChained, type NodeModel, nodePodCidrs, type Peer } from "./model.ts";

/** Sorted, so that two of them can be compared. */
export interface Observation {
  /** The node's ends of our pods' links. */
  readonly podLinks: readonly string[];
  /** The routes to our pods: address and interface. */
  readonly podRoutes: readonly string[];
  /** The destinations that are kept out of the tunnel. */
  readonly throws: readonly string[];
  /** The addresses of each of our pods that has an interface. */
  readonly pods: Readonly<Record<string, readonly string[]>>;
  /** The tunnels' devices with their public keys. */
  readonly devices: readonly string[];
  /** Device, key, endpoint and allowed IPs. */
  readonly peers: readonly string[];
  /** Destinations that lead to peers, in the table of pods and in the one of hosts. */
  readonly routes: readonly string[];
  /** The peers' pods and nodes in the nftables table; undefined without it. */
  readonly sets: { readonly pods: readonly string[]; readonly nodes: readonly string[] } | undefined;
  readonly hasRules: boolean;
  /** The store's attachments and leases: pod and address. */
  readonly attachments: readonly string[];
  readonly leases: readonly string[];
}

// biome-ignore lint/suspicious/noExplicitAny: iproute2's and nftables' JSON have no types.
type Json = any;

const devices = ["wg-cni-a", "wg-cni-b"];
const tables = { pods: "18099", hosts: "18098", main: "main" };
const separator = "=====";
const attachmentRows = "SELECT container_id || ' ' || value FROM attachments, json_each(ips)";
const leaseRows = "SELECT container_id || ' ' || ip FROM leases";

/** Prints nothing if a table, a set or a file is not there. */
const quietly = (command: string) => `${command} 2>/dev/null || true`;
const ownPods = podNames.filter((pod) => !isChained(pod));
const commands: readonly string[] = [
  "ip -j link show",
  ...["-4", "-6"].flatMap((family) =>
    Object.values(tables).map((table) => quietly(`ip -j ${family} route show table ${table}`)),
  ),
  "ip rule show; ip -6 rule show",
  quietly("wg show all dump"),
  ...["pods4_out", "nodes4"].map((set) => quietly(`nft -j list set inet wg-cni ${set}`)),
  ...ownPods.map((pod) => `ip -n ${pod} -j address show`),
];

export async function observe(machine: Machine): Promise<Observation> {
  const output = await machine.shell(commands.flatMap((command) => [command, `echo ${separator}`]));
  const texts = output.split(`${separator}\n`).map((text) => text.trim());
  // For a table that was never used `ip` begins a list and fails.
  const json = (at: number): Json =>
    ["", "["].includes(texts[at] as string) ? [] : JSON.parse(texts[at] as string);
  const links = (json(0) as Json[]).map(({ ifname }) => ifname as string);
  const [pods, hosts, main] = [1, 2, 3].map((at) => [...json(at), ...json(at + 3)] as Json[]) as [
    Json[],
    Json[],
    Json[],
  ];
  const dump = (texts[8] as string)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t"));
  const rows = await machine.order({ run: [{ query: attachmentRows }, { query: leaseRows }] });
  const [attachments, leases] = rows.map(({ stdout }) => JSON.parse(stdout));
  const [podSet, nodeSet] = [9, 10].map((at) => elementsOf(json(at)));
  return {
    podLinks: links.filter((name) => name.startsWith("wgc")).sort(),
    podRoutes: sorted(
      main.filter(({ dev }) => dev?.startsWith("wgc")).map(({ dst, dev }) => `${dst} ${dev}`),
    ),
    throws: sorted(pods.filter(({ type }) => type === "throw").map(({ dst }) => dst)),
    pods: Object.fromEntries(ownPods.flatMap((pod, i) => podEntry(pod, json(11 + i)))),
    devices: sorted(dump.filter((row) => row.length === 5).map(([dev, , key]) => `${dev} ${key}`)),
    peers: sorted(
      dump
        .filter((row) => row.length > 5)
        .map(([dev, key, , endpoint, ips]) => peerLine(dev, key, endpoint, ips)),
    ),
    routes: sorted(
      [...pods, ...hosts].filter(({ dev }) => devices.includes(dev)).map(({ dst }) => dst as string),
    ),
    sets: podSet && nodeSet && { pods: podSet, nodes: nodeSet },
    hasRules: /lookup (18099|18098)/.test(texts[7] as string),
    attachments: sorted(attachments as string[]),
    leases: sorted(leases as string[]),
  };
}

function podEntry(pod: PodName, links: Json[]): [string, string[]][] {
  const eth0 = links.find(({ ifname }) => ifname === "eth0");
  if (eth0 === undefined) return [];
  const global = (eth0.addr_info as Json[]).filter(({ scope }) => scope === "global");
  return [[pod, sorted(global.map(({ local }) => local))]];
}

function elementsOf(list: Json): string[] | undefined {
  const set = list.nftables?.find((entry: Json) => entry.set !== undefined)?.set;
  if (set === undefined) return undefined;
  return sorted((set.elem ?? []).map(({ elem, ...plain }: Json) => elementText(elem?.val ?? plain)));
}

function elementText(value: Json): string {
  if (typeof value === "string") return value;
  if (value.prefix !== undefined) return `${value.prefix.addr}/${value.prefix.len}`;
  return Object.values(value).join("");
}

function peerLine(...[dev, key, endpoint, ips = ""]: (string | undefined)[]): string {
  return [dev, key, endpoint, sorted(ips.split(",")).join()].join(" ");
}

/** What is to be observed of a node that is as the model says. */
export function expected(model: NodeModel): Observation {
  const live = [...model.live];
  const peers = [...(model.programmed?.values() ?? [])];
  const isThere = model.programmed !== undefined;
  const own = ([pod]: readonly [PodName, unknown]) => !isChained(pod);
  const rows = (records: readonly (readonly [PodName, readonly string[]])[]) =>
    sorted(records.flatMap(([pod, ips]) => ips.map((ip) => `${pod} ${ip}`)));
  return {
    podLinks: sorted(live.map(([, { hostDev }]) => hostDev)),
    podRoutes: sorted(live.flatMap(([, { ips, hostDev }]) => ips.map((ip) => `${ip} ${hostDev}`))),
    throws: sorted([...model.throws, ...(isThere ? nodePodCidrs : [])]),
    pods: Object.fromEntries(live.map(([pod, { ips }]) => [pod, sorted(ips)])),
    devices: isThere ? sorted(model.programmedKeys.map((key, i) => `${devices[i]} ${key}`)) : [],
    peers: sorted(peers.flatMap((peer) => devices.map((dev, i) => expectedPeer(peer, dev, i)))),
    routes: sorted(peers.flatMap(({ endpoint, podCIDRs }) => [endpoint, ...podCIDRs])),
    sets: isThere
      ? {
          pods: sorted(peers.flatMap(({ podCIDRs }) => podCIDRs)),
          nodes: sorted(peers.map(({ endpoint }) => endpoint)),
        }
      : undefined,
    hasRules: isThere,
    attachments: rows([...model.records]),
    leases: rows([...model.records].filter(own)),
  };
}

function expectedPeer({ publicKeys, endpoint, podCIDRs }: Peer, dev: string, i: number): string {
  const ips = [...podCIDRs, `${endpoint}/32`].join();
  return peerLine(dev, publicKeys[i], `${endpoint}:${51820 + i}`, ips);
}

function sorted(values: readonly string[]): string[] {
  return [...values].sort();
}
