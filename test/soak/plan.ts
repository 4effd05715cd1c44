// The plan of a soak run: what happens when, as data. One seed gives one plan, so that a run that
// failed can be made again. Pure.
import { makeRandom, pick, type Random } from "../plan/random.ts";

export type NodeIndex = 0 | 1 | 2;

/** What is done to the cluster at one time. */
export type Deed =
  /** The pod sends a packet to the pod that stays on `visits`. */
  | {
      readonly kind: "start-pod";
      readonly pod: number;
      readonly node: NodeIndex;
      readonly visits?: NodeIndex;
    }
  | { readonly kind: "end-pod"; readonly pod: number; readonly node: NodeIndex }
  | { readonly kind: "kill-agent"; readonly node: NodeIndex; readonly ms: number }
  | { readonly kind: "restart-agent"; readonly node: NodeIndex; readonly ms: number }
  | { readonly kind: "freeze-agent"; readonly node: NodeIndex; readonly ms: number }
  | { readonly kind: "rotate-keys"; readonly node: NodeIndex }
  | { readonly kind: "hide-records"; readonly ms: number }
  | { readonly kind: "flap-link"; readonly node: NodeIndex; readonly ms: number }
  | { readonly kind: "damage"; readonly node: NodeIndex; readonly damage: DamageName };

export type Kind = Deed["kind"];

export interface Event {
  readonly atMs: number;
  readonly deed: Deed;
}

export interface SoakOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Pods that are started a minute, on all nodes together. */
  readonly pods: number;
}

/** Shell lines, one change to a node's kernel each, which the agent repairs. */
export const damages = {
  "a rule is deleted": "ip rule delete priority 98",
  "the routes of the pods are flushed": "ip route flush table 18099",
  "the routes of the nodes are flushed": "ip route flush table 18098",
  "nftables is flushed": "nft flush ruleset",
  "a device has another MTU": "ip link set wg-cni-b mtu 1300",
  "a route of another program is in our table": "ip route add 10.99.0.0/16 dev eth0 table 18099",
} as const;

export type DamageName = keyof typeof damages;

/** Each kind comes once in an interval of so many seconds. */
const everySeconds = {
  "kill-agent": 20,
  "restart-agent": 30,
  "freeze-agent": 30,
  "rotate-keys": 45,
  "hide-records": 45,
  "flap-link": 40,
  damage: 15,
} as const satisfies Partial<Record<Kind, number>>;

/** Nothing is disturbed at the end: what is out of order by then has time to be put in order. */
const calmMs = 10_000;
const podLifeMs = { least: 500, most: 6000 } as const;
/** One new pod in so many sends a packet to another node. */
const visitsOneIn = 4;

/** In the order of time. The node with index 0 keeps its agent, whose memory is that of the whole run. */
export function planSoak({ seed, minutes, pods }: SoakOptions): Event[] {
  const random = makeRandom(seed);
  const endMs = minutes * 60_000;
  const events = planPods(random, endMs, pods);
  for (const [kind, seconds] of Object.entries(everySeconds) as [keyof typeof everySeconds, number][])
    for (const atMs of times(random, endMs - calmMs, seconds * 1000))
      events.push({ atMs, deed: disturb(random, kind) });
  return events.sort((one, other) => one.atMs - other.atMs);
}

/** Even intervals, each with its time somewhere inside: a kind does not depend on luck to come at all. */
function times(random: Random, endMs: number, everyMs: number): number[] {
  const count = Math.floor(endMs / everyMs);
  return Array.from({ length: count }, (_, index) => index * everyMs + below(random, everyMs));
}

function planPods(random: Random, endMs: number, aMinute: number): Event[] {
  const everyMs = Math.floor(60_000 / aMinute);
  return times(random, endMs - podLifeMs.most, everyMs).flatMap((atMs, pod) => {
    const node = below(random, 3) as NodeIndex;
    const visits = ((node + 1 + below(random, 2)) % 3) as NodeIndex;
    const lifeMs = podLifeMs.least + below(random, podLifeMs.most - podLifeMs.least);
    const sends = below(random, visitsOneIn) === 0;
    return [
      { atMs, deed: { kind: "start-pod", pod, node, ...(sends && { visits }) } },
      { atMs: atMs + lifeMs, deed: { kind: "end-pod", pod, node } },
    ] satisfies Event[];
  });
}

/** An integer from 0 to below `limit`. */
function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

function disturb(random: Random, kind: keyof typeof everySeconds): Deed {
  const node = below(random, 3) as NodeIndex;
  const mortal = (1 + below(random, 2)) as NodeIndex;
  switch (kind) {
    case "kill-agent":
    case "restart-agent":
      return { kind, node: mortal, ms: below(random, 3000) };
    case "freeze-agent":
      return { kind, node, ms: 500 + below(random, 4500) };
    case "rotate-keys":
      return { kind, node };
    case "hide-records":
      return { kind, ms: 1000 + below(random, 9000) };
    case "flap-link":
      return { kind, node, ms: 100 + below(random, 2900) };
    case "damage": {
      const names = Object.keys(damages) as DamageName[];
      return { kind, node, damage: pick(random, names) };
    }
  }
}
