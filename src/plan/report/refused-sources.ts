// Lists the packets of the last minute to which this host has given a source that no other node takes out of the
// tunnel, as our nftables table has counted them (firewall/leaving.ts). Pure.
import type { NftCounter } from "../../net/nftables.ts";
import { hostPrefix } from "../../net/prefix.ts";
import { families, refusedDestinationSet, refusedSourceSet } from "../firewall/sets.ts";
import type { OwnedPeer } from "../peers/model.ts";
import { AllowedIPs, type PeerReach } from "./reach.ts";

export interface RefusedPackets {
  /** Packets by source. */
  readonly sources: ReadonlyMap<string, number>;
  /** Names of the peers that these packets went to. */
  readonly peers: readonly string[];
}

export const refusedSets: readonly string[] = families.flatMap((family) => [
  refusedSourceSet(family),
  refusedDestinationSet(family),
]);

/** A sentence names at most so many sources. */
const maxSources = 3;

/** `counters`: set -> element -> counter. */
export function listRefused(
  peers: readonly OwnedPeer[],
  counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>,
): RefusedPackets {
  const elementsOf = (setOf: typeof refusedSourceSet) =>
    families.flatMap((family) => [...(counters.get(setOf(family)) ?? [])]);
  const sources = new Map(elementsOf(refusedSourceSet).map(([ip, { packets }]) => [ip, packets]));
  return { sources, peers: findOwners(peers, elementsOf(refusedDestinationSet)) };
}

function findOwners(peers: readonly OwnedPeer[], destinations: readonly (readonly [string, unknown])[]) {
  // Thousands of prefixes are worth an index only if there is a destination, which is rare.
  if (destinations.length === 0) return [];
  const index = new AllowedIPs({
    peers: peers.map(({ name, podCIDRs, nodeIPs }) => ({
      ...{ publicKey: name, allowedIPs: [...podCIDRs, ...nodeIPs.map(hostPrefix)] },
    })),
  });
  return [...new Set(destinations.flatMap(([ip]) => index.find(ip) ?? []))].sort();
}

/** Adds to each peer that is reached through the tunnel why some of its packets are lost there. */
export function addLosses(
  reaches: ReadonlyMap<string, PeerReach>,
  refused: RefusedPackets,
): ReadonlyMap<string, PeerReach> {
  const { peers } = refused;
  if (peers.length === 0) return reaches;
  const loss = explainLoss(refused);
  const all = new Map(reaches);
  for (const name of peers) {
    const reach = reaches.get(name);
    if (reach?.reach === "tunnel") all.set(name, { ...reach, loss });
  }
  return all;
}

/** A clause about packets to the peers. */
export function explainLoss({ sources }: RefusedPackets): string {
  return `a rule of this host gives them the source ${listSources(sources)}, which no node takes out of the tunnel`;
}

export function listSources(bySource: RefusedPackets["sources"]): string {
  const sources = [...bySource.keys()];
  const more = sources.length > maxSources ? ` and ${sources.length - maxSources} more` : "";
  return `${sources.sort().slice(0, maxSources).join(", ")}${more}`;
}
