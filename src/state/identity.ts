// The one row of `identity`: this node's name, addresses and sealed keys.
import type { Connection } from "./connection.ts";
import { bumpGeneration } from "./meta.ts";
import type { Identity, IdentitySlot } from "./model.ts";

/** The identity as it is stored: bytes are base64. */
type StoredIdentity = Omit<Identity, "slots"> & {
  slots: (Omit<IdentitySlot, "sealedPrivateKey"> & { sealedPrivateKey: string })[];
};

/** Undefined only if the node has none: what cannot be read throws StoreError. */
export function readIdentity(db: Connection): Identity | undefined {
  const row = readRow(db);
  if (row === undefined) return undefined;
  const stored = db.parseJson(row.data, "the node's identity") as StoredIdentity;
  return {
    ...stored,
    slots: stored.slots.map((slot) => ({
      ...slot,
      sealedPrivateKey: Uint8Array.fromBase64(slot.sealedPrivateKey),
    })),
  };
}

export function writeIdentity(db: Connection, identity: Identity): void {
  const data = encode(identity);
  db.transaction(() => {
    if (readRow(db)?.data === data) return;
    db.change("INSERT OR REPLACE INTO identity (id, data) VALUES (1, ?)", data);
    bumpGeneration(db);
  });
}

function readRow(db: Connection): { data: string } | undefined {
  return db.find<{ data: string }>("SELECT data FROM identity");
}

/** Encodes property by property: equal identities must have equal text, whatever made them. */
function encode(identity: Identity): string {
  const { name, endpoints, endpointsFound, nodeIPs, nodeIPsFollow, podCIDRs, slots, up, leaving } = identity;
  const stored: StoredIdentity = {
    name,
    endpoints,
    endpointsFound,
    nodeIPs,
    nodeIPsFollow,
    podCIDRs,
    slots: slots.map(({ slot, createdAtMs, publicKey, sealedPrivateKey, state, proof, fault }) => ({
      slot,
      createdAtMs,
      publicKey,
      sealedPrivateKey: sealedPrivateKey.toBase64(),
      state,
      ...(proof === undefined ? {} : { proof }),
      ...(fault === undefined ? {} : { fault: { kind: fault.kind, reason: fault.reason } }),
    })),
    up,
    ...(leaving === undefined ? {} : { leaving }),
  };
  return JSON.stringify(stored);
}
