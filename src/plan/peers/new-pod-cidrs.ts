// Finds the pod CIDRs that peers have announced since the mesh was programmed and that can be added to it as it
// is. Nothing else of a record is taken: what moves traffic, or takes something away, is for a whole sync. Pure.
import { prefixesOverlap } from "../../net/prefix.ts";
import { without } from "../../net/without.ts";
import type { OwnedPeer } from "./model.ts";

/** More than a step of work between two passes; a sync reads everything in the time that these would take. */
const maxChanged = 64;

interface Changed {
  readonly before: OwnedPeer;
  readonly podCIDRs: readonly string[];
}

/**
 * Returns `before` with the pod CIDRs that its peers have in `now` and had not, beside those that they had; undefined
 * if there are none, or more than are worth it. Both lists are sorted by name, and a peer that is as it was is the
 * same object. A CIDR that overlaps with one that a peer gives up has to wait until that is gone, and so has one that is in
 * `counted`: the last reading of its counters was of an earlier element.
 */
export function withNewPodCIDRs(
  before: readonly OwnedPeer[],
  now: readonly OwnedPeer[],
  counted: ReadonlySet<string>,
): readonly OwnedPeer[] | undefined {
  const changed = new Map<string, Changed>();
  const leaving: string[] = [];
  let at = 0;
  for (const known of before) {
    while (at < now.length && (now[at] as OwnedPeer).name < known.name) at++;
    const peer = now[at];
    if (peer === known) continue;
    if (peer?.name !== known.name) leaving.push(...known.podCIDRs);
    else {
      leaving.push(...without(known.podCIDRs, peer.podCIDRs));
      if (isElseSame(known, peer)) changed.set(known.name, { before: known, podCIDRs: peer.podCIDRs });
    }
    if (changed.size > maxChanged || leaving.length > maxChanged) return undefined;
  }
  const grown = new Map<string, OwnedPeer>();
  for (const [name, { before: known, podCIDRs }] of changed) {
    const added = without(podCIDRs, known.podCIDRs).filter(
      (cidr) => !counted.has(cidr) && !leaving.some((other) => prefixesOverlap(cidr, other)),
    );
    if (added.length > maxChanged) return undefined;
    if (added.length > 0) grown.set(name, { ...known, podCIDRs: [...known.podCIDRs, ...added] });
  }
  return grown.size === 0 ? undefined : before.map((peer) => grown.get(peer.name) ?? peer);
}

/** True if two versions of a peer differ in nothing but their pod CIDRs. */
function isElseSame({ podCIDRs: _, ...a }: OwnedPeer, { podCIDRs: __, ...b }: OwnedPeer): boolean {
  return Bun.deepEquals(a, b);
}
