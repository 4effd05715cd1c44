// Finds the pod CIDRs that peers have announced since the mesh was programmed and that can be added to it as it
// is. Nothing else of a record is taken: what moves traffic, or takes something away, is for a whole sync. Pure.
import { hostPrefix, prefixesOverlap } from "../../net/prefix.ts";
import { without } from "../../net/without.ts";
import type { OwnedPeer } from "./model.ts";

/** If more has changed than this, each new CIDR would be compared with so many that a sync is as quick. */
const maxChanged = 64;

/**
 * Returns `before` with the pod CIDRs that its peers have in `now` and had not, beside those that they had; undefined
 * if there are none, or more than are worth it. Both lists are sorted by name, and a peer that is as it was is the
 * same object. A CIDR has to wait for the sync if it overlaps with something that a peer gives up, which is still
 * programmed, or if it is in `counted`: the last reading of its counters was of an earlier element.
 */
export function withNewPodCIDRs(
  before: readonly OwnedPeer[],
  now: readonly OwnedPeer[],
  counted: ReadonlySet<string>,
): readonly OwnedPeer[] | undefined {
  /** Versions of a peer that differ in their pod CIDRs alone. */
  const changed: (readonly [OwnedPeer, OwnedPeer])[] = [];
  const leaving: string[] = [];
  let at = 0;
  for (const known of before) {
    while (at < now.length && (now[at] as OwnedPeer).name < known.name) at++;
    const peer = now[at]?.name === known.name ? now[at] : undefined;
    if (peer === known) continue;
    leaving.push(...without(prefixesOf(known), peer === undefined ? [] : prefixesOf(peer)));
    if (peer !== undefined && isElseSame(known, peer)) changed.push([known, peer]);
    if (changed.length > maxChanged || leaving.length > maxChanged) return undefined;
  }
  const grown = new Map<string, OwnedPeer>();
  for (const [known, { podCIDRs }] of changed) {
    const added = without(podCIDRs, known.podCIDRs).filter(
      (cidr) => !counted.has(cidr) && !leaving.some((other) => prefixesOverlap(cidr, other)),
    );
    if (added.length > maxChanged) return undefined;
    if (added.length > 0) grown.set(known.name, { ...known, podCIDRs: [...known.podCIDRs, ...added] });
  }
  return grown.size === 0 ? undefined : before.map((peer) => grown.get(peer.name) ?? peer);
}

/** Returns everything of a peer that allowed IPs or routes may be of. */
function prefixesOf({ podCIDRs, nodeIPs, earlyIPs = [], barredIPs = [] }: OwnedPeer): string[] {
  return [...podCIDRs, ...[...nodeIPs, ...earlyIPs, ...barredIPs].map(hostPrefix)];
}

/** True if two versions of a peer differ in nothing but their pod CIDRs. */
function isElseSame({ podCIDRs: _, ...a }: OwnedPeer, { podCIDRs: __, ...b }: OwnedPeer): boolean {
  return Bun.deepEquals(a, b);
}
