// What must not become of an attack, by SECURITY.md and by nothing of the product: the places where no part of it
// may be seen. And what must become of an honest packet.
//
//   pod N/NAME   it is on the link of that pod             wire N     node N has put it on the wire, readable
//   local N      a process of node N gets it               tunnel N   node N has put it into the tunnel
import type { Attack, Host, Settings } from "./draw.ts";
import { isInside, isRouted } from "./packet.ts";
import type { Sighting } from "./sockets.ts";

export interface Seen extends Omit<Sighting, "at"> {
  /** As above. */
  readonly at: string;
}

const any = /./;
const none = /^$/;
const peersAndPods: readonly Host[] = ["peer's pod", "peer", "attacker's pod", "attacker", "unannounced"];
const pods: readonly Host[] = ["peer's pod", "attacker's pod", "unannounced"];
const nodes: readonly Host[] = ["peer", "attacker"];
const localPods: readonly Host[] = ["pod", "neighbour pod"];
const here: readonly Host[] = [...localPods, "this node"];
const own: readonly Host[] = [...here, "further address", "loopback"];

/** Why what was seen of an attack must not be; undefined if it may. */
export function findBreach(settings: Settings, drawn: Attack, seen: Seen): string | undefined {
  const attack = asItComes(drawn);
  // An error goes back to whom the packet claims to be from, and has nothing that the forger did not know.
  const isForged = attack.from !== "pod" && attack.from !== "this node";
  if (seen.isError && isForged) return undefined;
  if (isReadable(settings, attack) && seen.at.startsWith("wire "))
    return "traffic of the mesh is readable on the wire";
  if (isSecret(settings, attack) && seen.at === `wire ${attack.node}`)
    return "what came by the tunnel is readable on the wire";
  if (seen.isError || mayBeAnswer(attack, seen)) return undefined;
  return forbiddenPlaces(settings, attack).test(seen.at) ? "a forged packet arrives" : undefined;
}

/** A node takes out only of a packet that is addressed to itself what is inside; any other one is what it is outside. */
function asItComes(attack: Attack): Attack {
  const { shape, via, by } = attack;
  if (!isInside(shape) || via === undefined || by === undefined || via === "this node") return attack;
  const { via: _, by: __, ...rest } = attack;
  return { ...rest, from: by, to: via, shape: "plain" };
}

/**
 * True for what a peer sends to the node or its pods as it should, which an error of the node quotes, or an answer
 * of the node has. Without connection tracking it does not know which answers belong into the tunnel.
 */
function isSecret({ tracking, hostEncryption }: Settings, { place, from, to, shape }: Attack): boolean {
  const isAnswered = to === "this node" && from === "attacker" && !shape.startsWith("bad");
  if (isAnswered && tracking !== "on" && hostEncryption !== "on") return false;
  return (
    place === "tunnel" &&
    (from === "attacker" || from === "attacker's pod") &&
    here.includes(to) &&
    !isRouted(shape)
  );
}

/**
 * Answers to what the node itself has asked pass, from unannounced addresses too. A protocol without ports has the
 * same connection for all that two addresses send to each other, so a process of the node may have asked.
 */
function mayBeAnswer({ node, from, transport }: Attack, { at }: Seen): boolean {
  return from === "unannounced" && transport === "raw" && at === `local ${node}`;
}

/** Returns the place where an honest packet must be seen. */
export function destinationOf({ node, to }: Attack): string {
  const peer = node === 1 ? 2 : 1;
  const place: Partial<Record<Host, string>> = {
    pod: `pod ${node}/pod`,
    "neighbour pod": `pod ${node}/neighbour pod`,
    "this node": `local ${node}`,
    "peer's pod": `pod ${peer}/pod`,
    peer: `local ${peer}`,
  };
  return place[to] as string;
}

/** True for what a pod or the host sends honestly to the mesh, or a process with forged marks to what is encrypted: nobody may read it. */
function isReadable(
  { mode, hostEncryption, tracking }: Settings,
  { place, from, to, via, shape, mark, dev }: Attack,
): boolean {
  const strict = mode === "strict";
  if (place === "pod") {
    // The node's answer goes to the hosts that the packet has passed, and without connection tracking it is host traffic.
    if (isRouted(shape) && nodes.includes(to) && tracking !== "on") return false;
    const ways = via === undefined || here.includes(via) || peersAndPods.includes(via);
    return (
      (from === "pod" || strict) && ways && peersAndPods.includes(to) && (strict || to !== "unannounced")
    );
  }
  // A process with NET_RAW may address a packet to a node that passes it on: that is its own data, and host traffic.
  // What it sends to an address that no node has announced goes to no pod.
  if (place !== "host" || isRouted(shape)) return false;
  if (nodes.includes(to)) return hostEncryption === "on" && from === "this node" && dev === undefined;
  if (!pods.includes(to) || to === "unannounced") return false;
  return strict || (mark === 0 && dev === undefined && from === "this node");
}

function forbiddenPlaces(settings: Settings, attack: Attack): RegExp {
  switch (attack.place) {
    case "pod":
      return isForgedByPod(settings, attack) ? any : none;
    case "tunnel":
      return byTunnel(attack);
    case "host":
      return none;
    default:
      return settings.mode === "strict" ? fromNetwork(settings, attack) : none;
  }
}

/** By a link of ours comes only what has the pod's address, in both modes; by another's in strict mode nothing that claims the cluster's. */
function isForgedByPod({ mode, roles }: Settings, { node, from, to, family }: Attack): boolean {
  if (from === "pod") return false;
  // Neighbours ask for each other so, and DHCP does: it is never forwarded, and claims to be nobody.
  const isOfLink =
    (family === 6 && from === "link-local" && (to === "link-local" || to === "multicast")) ||
    (from === "unspecified" && to === "multicast");
  if (roles[node - 1] === "standalone") return !isOfLink;
  return mode === "strict" && (own.includes(from) || peersAndPods.includes(from));
}

/** What a peer sends counts only from its own addresses, and reaches only the node and its pods. */
function byTunnel({ node, from, to, via }: Attack): RegExp {
  if (from !== "attacker's pod" && from !== "attacker") return any;
  if (here.includes(to) && (via === undefined || here.includes(via))) return none;
  // Beyond the node, or at an address of it that is not for peers, also if a source route leads there. A pod itself
  // gets what is addressed to it, whichever hosts the packet names.
  const isPods = via !== undefined && localPods.includes(via);
  return new RegExp(`^(local|wire|tunnel) ${node}|^(pod|local) ${isPods ? 3 - node : ""}`);
}

/** In strict mode nothing arrives in plaintext from an address of the mesh, but what hosts say to each other. */
function fromNetwork({ hostEncryption }: Settings, { node, from, to }: Attack): RegExp {
  if (own.includes(from) || pods.includes(from)) return any;
  // With host encryption the node's answer takes the tunnel.
  if (hostEncryption !== "off" && nodes.includes(from) && own.includes(to)) return /^pod/;
  if (nodes.includes(from)) return new RegExp(`^pod|^tunnel ${node}`);
  // What is the world's may reach this node's pods, and nobody by its tunnel.
  return new RegExp(`^pod ${3 - node}|^local ${3 - node}|^tunnel`);
}
