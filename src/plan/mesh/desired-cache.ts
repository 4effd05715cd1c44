// The desired mesh of thousands of peers, kept from one pass to the next: most passes find the facts that it
// was made from as they were.
import { desiredMesh, type MeshFacts } from "./desired.ts";
import { PeerParts } from "./desired-peer.ts";
import type { Mesh } from "./model.ts";

export class DesiredMeshCache {
  readonly #parts = new PeerParts();
  #last: { readonly facts: MeshFacts; readonly mesh: Mesh } | undefined;

  /** Returns the same mesh until the facts change. */
  make(facts: MeshFacts): Mesh {
    if (this.#last === undefined || !isSame(facts, this.#last.facts))
      this.#last = { facts, mesh: desiredMesh(facts, this.#parts.make(facts, facts.ownership.peers)) };
    return this.#last.mesh;
  }
}

/** Peers and paths are the same objects as long as the store has not changed; the other facts are small. */
function isSame(a: MeshFacts, b: MeshFacts): boolean {
  return (
    a.ownership.peers === b.ownership.peers &&
    a.paths === b.paths &&
    Bun.deepEquals(withoutPeers(a), withoutPeers(b))
  );
}

function withoutPeers({
  ownership: _,
  paths: __,
  ...rest
}: MeshFacts): Omit<MeshFacts, "ownership" | "paths"> {
  return rest;
}
