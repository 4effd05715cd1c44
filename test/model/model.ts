// What a node should be like, as simple as it can be said: which pods the store knows, which the kernel has, which
// peers there are, and whether the kernel has the mesh. It says what a command answers and what is there afterwards,
// and knows nothing of how the product does it.
import { familyOf } from "../../src/net/ip.ts";
import { chainedPods, type Mode, type PeerName, type PodName } from "./actions.ts";

/** The codes of the plugin's errors (docs/reference/errors.md). */
export const codes = { exists: 103, checkFailed: 104, exhausted: 105 } as const;

export const nodePodCidrs = ["10.244.1.0/24", "fd00:10:244:1::/64"];
/** The subnets that pods of our own get addresses of. The first address of each is the gateway's. */
export const subnets = ["10.9.0.0/29", "fd00:9::/125"];
/** In the order in which they are given: of IPv6 there is one more, because no broadcast address is left out. */
const pools: Readonly<Record<4 | 6, readonly string[]>> = {
  4: [2, 3, 4, 5, 6].map((i) => `10.9.0.${i}`),
  6: [2, 3, 4, 5, 6, 7].map((i) => `fd00:9::${i}`),
};
const families = [4, 6] as const;

export interface Peer {
  readonly publicKeys: readonly string[];
  readonly endpoint: string;
  readonly podCIDRs: readonly string[];
}

/** What a pod has in the kernel. */
export interface Live {
  readonly ips: readonly string[];
  /** The node's end of the link, as the result of ADD named it. */
  readonly hostDev: string;
}

export function isChained(pod: PodName): boolean {
  return chainedPods.some((name) => name === pod);
}

/** The addresses of a pod that another plugin has made. */
export function chainedIps(pod: PodName): string[] {
  return [`10.8.0.${pod.slice(1)}`, `fd00:8::${pod.slice(1)}`];
}

export class NodeModel {
  /** The store's rows, by pod. */
  readonly records = new Map<PodName, readonly string[]>();
  /** The pods of our own that have a link. */
  readonly live = new Map<PodName, Live>();
  /** The addresses that are kept out of the tunnel, for a pod each. */
  readonly throws = new Set<string>();
  readonly peers = new Map<PeerName, Peer>();
  /** The address given last, by family; "unknown" after calls at the same time. */
  last: Partial<Record<4 | 6, string>> | "unknown" = {};
  /** The node has an identity. */
  isKnown = false;
  isUp = false;
  mode: Mode = "permissive";
  /** The public keys of both slots, once the node is known. */
  keys: readonly string[] = [];
  /** What the kernel has of the mesh: nothing, or the peers of the last sync. */
  programmed: ReadonlyMap<PeerName, Peer> | undefined;
  /** The keys that its devices have. */
  programmedKeys: readonly string[] = [];
  /** False after a boot, until the next sync; a call of ADD does one. */
  isCurrent = false;
  /** An agent has decided about the gate: routes to peers depend on handshakes, which no peer here answers. */
  isGated = false;
  hasAgent = false;
  /** The chained pods that were made anew after their ADD: their routes have another MTU until something repairs it. */
  readonly unsure = new Set<PodName>();

  /** What ADD gives a pod of our own: addresses, or an error's code. "free": any that are free. */
  offer(pod: PodName): readonly string[] | "free" | number {
    if (this.live.has(pod)) return codes.exists;
    const kept = this.records.get(pod);
    if (kept !== undefined && !kept.some((ip) => this.isInUse(ip))) return kept;
    const free = families.map((family) => this.free(family, pod));
    if (free.some((ips) => ips.length === 0)) return codes.exhausted;
    if (this.last === "unknown") return "free";
    return families.map((family, i) => this.#next(family, free[i] as string[]));
  }

  /** The addresses that no other pod has. */
  free(family: 4 | 6, pod: PodName): string[] {
    return pools[family].filter((ip) => !this.isInUse(ip) && !this.#isLeased(ip, pod));
  }

  /** The first free one after the last. */
  #next(family: 4 | 6, free: readonly string[]): string {
    const pool = pools[family];
    const last = this.last === "unknown" ? undefined : this.last[family];
    const start = last === undefined ? 0 : pool.indexOf(last) + 1;
    return [...pool.slice(start), ...pool.slice(0, start)].find((ip) => free.includes(ip)) as string;
  }

  /** The kernel shows that a pod has it. */
  isInUse(ip: string): boolean {
    return [...this.live.values()].some(({ ips }) => ips.includes(ip));
  }

  #isLeased(ip: string, pod: PodName): boolean {
    return [...this.records].some(([name, ips]) => name !== pod && ips.includes(ip));
  }

  added(pod: PodName, given: Live): void {
    this.repair();
    const isKept = String(this.records.get(pod)) === String(given.ips);
    if (!isChained(pod)) this.live.set(pod, given);
    if (!isChained(pod) && !isKept && this.last !== "unknown")
      this.last = Object.fromEntries(given.ips.map((ip) => [familyOf(ip), ip]));
    this.unsure.delete(pod);
    this.records.set(pod, given.ips);
    for (const ip of given.ips) this.throws.add(ip);
  }

  /** The end of a pod's attachment; `told` are the addresses of the result that the runtime has passed. */
  removed(pod: PodName, told: readonly string[] = []): void {
    const ips = this.records.get(pod) ?? told;
    this.records.delete(pod);
    this.live.delete(pod);
    for (const ip of ips)
      if (![...this.records.values()].some((held) => held.includes(ip))) this.throws.delete(ip);
  }

  isWhole(pod: PodName): boolean {
    const ips = this.records.get(pod);
    const isThere = isChained(pod) || String(this.live.get(pod)?.ips) === String(ips);
    return ips !== undefined && isThere && (!this.isUp || ips.every((ip) => this.throws.has(ip)));
  }

  /** The kernel becomes what the store says. */
  synced(): void {
    this.isCurrent = true;
    this.programmed = this.isUp ? new Map(this.peers) : undefined;
    this.programmedKeys = this.keys;
    this.throws.clear();
    if (this.isUp) for (const ip of [...this.records.values()].flat()) this.throws.add(ip);
  }

  /** What a call of ADD does first. */
  repair(): void {
    if (this.isUp && !this.isCurrent) this.synced();
  }

  /** A boot ends the agent, and what is not on the disk. */
  booted(fresh: "all" | "network" | "id"): void {
    this.hasAgent = false;
    this.isCurrent = false;
    if (fresh !== "network") {
      this.records.clear();
      this.last = {};
    }
    if (fresh === "id") return;
    for (const pod of chainedPods) this.unsure.add(pod);
    this.live.clear();
    this.throws.clear();
    this.programmed = undefined;
  }
}
