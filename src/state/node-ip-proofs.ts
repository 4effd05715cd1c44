// The table `node_ip_proofs`: addresses that handshakes of the peers have come from. Every process weighs the
// peers' claims by it.
import type { Connection } from "./connection.ts";
import { bumpGeneration } from "./meta.ts";

export interface NodeIPProof {
  readonly peer: string;
  readonly ip: string;
}

/** The key of the map is the peer's name. */
export function readNodeIPProofs(db: Connection): Map<string, Set<string>> {
  const proofs = new Map<string, Set<string>>();
  for (const { peer, ip } of db.all<NodeIPProof>("SELECT peer, ip FROM node_ip_proofs")) {
    const ips = proofs.get(peer);
    if (ips === undefined) proofs.set(peer, new Set([ip]));
    else ips.add(ip);
  }
  return proofs;
}

export function writeNodeIPProofs(db: Connection, proofs: readonly NodeIPProof[]): void {
  if (proofs.length === 0) return;
  db.transaction(() => {
    const insert = "INSERT OR IGNORE INTO node_ip_proofs (peer, ip) VALUES (?, ?)";
    const written = proofs.filter(({ peer, ip }) => db.change(insert, peer, ip) > 0);
    if (written.length > 0) bumpGeneration(db);
  });
}

/** Keeps what of a peer's is in the list; inside the transaction that changes its record. */
export function keepNodeIPProofs(db: Connection, peer: string, kept: readonly string[]): void {
  const list = JSON.stringify(kept);
  db.change(
    "DELETE FROM node_ip_proofs WHERE peer = ? AND ip NOT IN (SELECT value FROM json_each(?))",
    peer,
    list,
  );
}
