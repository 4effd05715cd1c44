// Decides ownership among the peers from the store and the landmarks around this node: which claims
// count at all, which are proven, and which peer was first (plan/).
import { hostPrefix } from "../net/prefix.ts";
import type { NodeRecord } from "../net/record.ts";
import { boundClaims, type ClaimBounds, keepClaimJudge } from "../plan/peers/claim-bounds.ts";
import { resolveClaims } from "../plan/peers/claims.ts";
import { serviceNetworks } from "../plan/peers/cluster-hosts.ts";
import { holdClaims } from "../plan/peers/held-claims.ts";
import { knownLandmarks, type Landmark } from "../plan/peers/landmarks.ts";
import type { ClaimingPeer, Ownership } from "../plan/peers/model.ts";
import { provenBy, splitNodeIPs, weighProvenFirst, withoutNodes } from "../plan/peers/node-ip-proof.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { StoredPeer } from "../state/model.ts";
import type { Store } from "../state/store.ts";

export interface OwnershipFacts {
  readonly settings: Settings;
  /** This node's own record. */
  readonly node: NodeRecord;
  readonly peers: readonly StoredPeer[];
  readonly landmarks: readonly Landmark[];
  readonly toClaimingPeer: (peer: StoredPeer) => ClaimingPeer;
}

const judgeOf = keepClaimJudge();

/** Throws StoreError. */
export function readOwnership(store: Store, facts: OwnershipFacts): Ownership {
  const { settings, node, peers, toClaimingPeer } = facts;
  const bounds = boundsOf(store, facts);
  const judge = judgeOf(bounds);
  const typed = new Set(peers.flatMap(({ record: { name }, source }) => (source === "import" ? [name] : [])));
  const bounded = boundClaims(
    peers.map((peer) => ({ ...toClaimingPeer(peer), isTyped: typed.has(peer.record.name) })),
    judge,
  );
  const own = node.nodeIPs.map(hostPrefix);
  const proof = { settings, landmarks: bounds.landmarks, typed, own, proofs: store.nodeIPProofs() };
  // Without an agent handshakes are not observed, and records are the operator's statement.
  const isProven = store.gated ? provenBy(proof) : () => true;
  const others = bounded.peers.filter(({ record }) => record.name !== node.name);
  const apart = store.gated ? withoutNodes(others, proof, isProven) : { peers: others, refusals: [] };
  const resolved = resolveClaims(
    { ...node, publicKeys: node.slots.map(({ publicKey }) => publicKey) },
    apart.peers.map((peer) => weighProvenFirst(peer, isProven)),
    store.lapses(),
  );
  const held = holdClaims(resolved, node, (name) => {
    const before = store.previousRecord(name);
    return before === undefined ? undefined : judge(before, typed.has(name)).record;
  });
  const claimed = new Map(apart.peers.map(({ record: { name, nodeIPs } }) => [name, nodeIPs]));
  return {
    peers: splitNodeIPs(held.peers, claimed, proof, isProven),
    refusals: [...held.refusals, ...apart.refusals, ...bounded.refusals],
  };
}

function boundsOf(store: Store, { settings, node, landmarks }: OwnershipFacts): ClaimBounds {
  const hosts = store.clusterHosts();
  const known = knownLandmarks({ node, peers: [], settings, apiServers: hosts.apiServers });
  return {
    ...{ settings, podCIDRs: node.podCIDRs },
    // This node's own claims are compared by name.
    landmarks: [...known, ...landmarks].filter(({ ip }) => !node.nodeIPs.includes(ip)),
    reserved: serviceNetworks(hosts, node.nodeIPs),
  };
}
