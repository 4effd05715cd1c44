// What is drawn: the settings of the nodes, attacks under them, and the honest packets that must arrive
// meanwhile. A seed always gives the same ones. Pure.
import type { Family } from "../../../src/net/ip.ts";
import { type Role, roles } from "../../kernel/support/hosts.ts";
import { makeRandom, pick, type Random } from "../../plan/random.ts";
import { isInside, isRouted, type Shape, shapes, type Transport, transports } from "./packet.ts";

/** What the nodes are set to. */
export interface Settings {
  readonly mode: "permissive" | "strict";
  readonly rpFilter: 0 | 1 | 2;
  /** IPv4's source routes and IPv6's segments, of either kind, are taken. */
  readonly sourceRoutes: boolean;
  readonly routeLocalnet: boolean;
  /** "changing": a deed turns it on and off. */
  readonly hostEncryption: "off" | "on" | "changing";
  readonly tracking: (typeof trackings)[number];
  /** Of "pod" on either node; "neighbour pod" has the other role. */
  readonly roles: readonly [Role, Role];
}

/**
 * on       connections are tracked
 * notrack  another program takes all packets out of it
 * none     the kernel has no connection tracking
 */
export const trackings = ["on", "notrack", "none"] as const;

/**
 * What happens to the nodes and their agents while the attacks fly.
 *
 * repair   another program damages what is in the kernel. The attacks count once the agent has repaired it.
 * record   the attacker's record claims what is not its own
 * replay   what was recorded on the wire is sent again, from other addresses
 * toggle   host encryption is turned on and off
 * dead man host encryption is turned on, and the control plane does not answer
 */
export const deeds = [
  ...(["restart", "record", "repair", "replay", "sync", "toggle", "rotate", "crash", "dead man"] as const),
] as const;
export type Deed = (typeof deeds)[number];

/**
 * pod     a process with NET_RAW in a pod of the node
 * wire    a machine in the network of the nodes, which sends frames to the node
 * lan     one in another network of the node
 * tunnel  root of a node of the mesh, which sends what it likes to the node through the tunnel
 * host    a process with NET_RAW in the node's own network
 */
export const places = ["pod", "wire", "lan", "tunnel", "host"] as const;
export type Place = (typeof places)[number];

/** Hosts by their relation to the attacked node. */
export const hosts = [
  ...(["pod", "neighbour pod", "this node"] as const),
  ...(["peer's pod", "peer", "attacker's pod", "attacker", "unannounced"] as const),
  ...(["gateway", "world", "loopback", "multicast", "link-local", "unspecified"] as const),
  // An address of the attacked node that is not announced.
  "further address",
] as const;
export type Host = (typeof hosts)[number];

export interface Attack {
  readonly place: Place;
  /** The number of the node that is attacked, or whose pod or process attacks. */
  readonly node: 1 | 2;
  readonly family: Family;
  readonly transport: Transport;
  readonly shape: Shape;
  readonly from: Host;
  readonly to: Host;
  /** The host that it is addressed to at first, if its shape names hosts to pass. */
  readonly via?: Host;
  /** The source of the packet around it, if its shape has one. */
  readonly by?: Host;
  /** Only of a process in the node's network. */
  readonly mark?: number;
  readonly dev?: string;
  /** Only by the tunnel: which one, "a" unless told. */
  readonly slot?: "a" | "b";
}

export interface Round {
  readonly settings: Settings;
  readonly attacks: readonly Attack[];
  readonly honest: readonly Attack[];
  readonly deed?: Deed;
}

const attacksPerRound = 100;
const honestPerRound = 40;
/** Deeds take seconds, so one round in so many has one, in turn. */
const roundsPerDeed = 6;
/** The round of them that has it: a short run has one too. */
const roundWithDeed = 3;
/** Each value of our field, none, and all bits. */
const marks = [0, 0x20000000, 0x40000000, 0x60000000, 0xffffffff];

/** Who may send to whom in both modes; the packet arrives. */
const honestPairs: readonly (readonly [Place, Host, Host])[] = [
  ["pod", "pod", "neighbour pod"],
  ["pod", "pod", "this node"],
  ["pod", "pod", "peer's pod"],
  ["pod", "pod", "peer"],
  ["host", "this node", "peer's pod"],
  ["host", "this node", "pod"],
  ["host", "this node", "peer"],
  ["wire", "world", "pod"],
  ["tunnel", "attacker's pod", "pod"],
  ["tunnel", "attacker's pod", "this node"],
];

export function drawRounds(seed: number, runs: number): Round[] {
  const random = makeRandom(seed);
  return Array.from({ length: runs }, (_, i) => {
    const deed =
      i % roundsPerDeed === roundWithDeed ? deeds[Math.floor(i / roundsPerDeed) % deeds.length] : undefined;
    const attacks = Array.from({ length: attacksPerRound }, () => drawAttack(random));
    const honest = drawHonest(random);
    const rotates = deed === "rotate";
    return {
      settings: drawSettings(random, i, deed),
      attacks: rotates ? attacks.filter((attack) => !reachesPeer(attack)) : attacks,
      // A node that uses the old keys to the end may lose packets.
      honest: rotates ? honest.filter(({ place }) => place !== "tunnel") : honest,
      ...(deed === undefined ? {} : { deed }),
    };
  });
}

/** The attacker's agent, which a rotation needs, leads what is for the other node there. */
function reachesPeer({ place, to, via }: Attack): boolean {
  return place === "tunnel" && [to, via].some((host) => host === "peer" || host === "peer's pod");
}

/** Each pair once, with the plainest packet, beside those that are drawn. */
export function drawHonest(random: Random): Attack[] {
  const one = ([place, from, to]: (typeof honestPairs)[number], family: Family, shape: Shape): Attack => ({
    ...{ place, from, to, family, shape, node: pick(random, [1, 2] as const) },
    transport: pick(random, transports),
  });
  const families = [4, 6] as const;
  const drawn = Array.from({ length: honestPerRound }, () => {
    const family = pick(random, families);
    return one(pick(random, honestPairs), family, pick(random, shapes[family].plain));
  });
  return [...drawn, ...families.flatMap((family) => honestPairs.map((pair) => one(pair, family, "plain")))];
}

function drawSettings(random: Random, index: number, deed: Deed | undefined): Settings {
  const role = () => pick(random, roles);
  return {
    // In turn, so that a short run has all of them too.
    mode: index % 3 === 2 ? "permissive" : "strict",
    rpFilter: index % 2 === 0 ? pick(random, [0, 2] as const) : pick(random, [0, 1, 2] as const),
    sourceRoutes: index % 2 === 0,
    routeLocalnet: random() < 0.3,
    hostEncryption:
      deed === "toggle" || deed === "dead man" ? "changing" : pick(random, ["off", "on"] as const),
    tracking: pick(random, ["on", ...trackings] as const),
    roles: [role(), role()],
  };
}

/** Hosts to pass. */
const ways = ["this node", "this node", "peer", "peer's pod", "pod"] as const;
/** Hosts in whose name a packet comes that has another one in it. */
const wrappers: Readonly<Record<Place, readonly Host[]>> = {
  pod: ["pod"],
  wire: ["peer", "attacker", "world"],
  lan: ["peer", "attacker", "world"],
  tunnel: ["attacker", "attacker's pod"],
  host: ["this node"],
};
/** What is of the mesh is most worth to be claimed and to be reached. */
const ofMesh = hosts.slice(0, 8);
const ofMeshShare = 0.75;
const ownShare = 0.5;
/** What comes from an address of the attacker's own is accepted: what it reaches by that, and how, is the question. */
const ownHosts: Readonly<Partial<Record<Place, Host>>> = { tunnel: "attacker", host: "this node" };

function drawHost(random: Random): Host {
  return pick(random, random() < ofMeshShare ? ofMesh : hosts);
}

function drawAttack(random: Random): Attack {
  const family = pick(random, [4, 6] as const);
  const { plain, odd } = shapes[family];
  const shape = pick<Shape>(random, pick<readonly Shape[]>(random, [plain, odd]));
  const place = pick(random, places);
  const attack: Attack = {
    ...{ place, family, shape, node: pick(random, [1, 2] as const), transport: pick(random, transports) },
    from: ownHosts[place] !== undefined && random() < ownShare ? ownHosts[place] : drawHost(random),
    to: drawHost(random),
    ...(isRouted(shape) ? { via: pick(random, ways) } : {}),
    ...(isInside(shape) ? { by: pick(random, wrappers[place]) } : {}),
  };
  if (place === "tunnel") return { ...attack, slot: pick(random, ["a", "b"] as const) };
  if (place !== "host") return attack;
  const dev = pick(random, [undefined, undefined, "eth0", "eth1", "wg-cni-a", "wg-cni-b"]);
  return { ...attack, mark: pick(random, marks), ...(dev === undefined ? {} : { dev }) };
}
