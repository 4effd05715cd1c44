// The tables `plaintext` and `plaintext_counting`: packets that went outside the tunnel, by peer, and where
// the kernel's counters stood when they were last added. They outlive boots.
import type { PlaintextCounting, PlaintextEvidence, PlaintextRecord } from "../net/plaintext.ts";
import type { NodeRecord } from "../net/record.ts";
import type { Connection } from "./connection.ts";

interface Row {
  readonly peer: string;
  readonly in_packets: number;
  readonly out_packets: number;
  readonly leaked_packets: number;
  readonly dropped_packets: number;
  readonly first_at_ms: number;
  readonly last_at_ms: number;
}

export function readPlaintext(db: Connection): PlaintextEvidence {
  const rows = db.all<Row>(
    "SELECT peer, in_packets, out_packets, leaked_packets, dropped_packets, first_at_ms, last_at_ms FROM plaintext",
  );
  const peers = new Map(
    rows.map((row): [string, PlaintextRecord] => [
      row.peer,
      {
        ...{ inPackets: row.in_packets, outPackets: row.out_packets, leakedPackets: row.leaked_packets },
        droppedPackets: row.dropped_packets,
        ...{ firstAtMs: row.first_at_ms, lastAtMs: row.last_at_ms },
      },
    ]),
  );
  const text = db.find<{ data: string }>("SELECT data FROM plaintext_counting")?.data;
  if (text === undefined) return { peers };
  return { peers, counting: db.parseJson(text, "the counters of plaintext") as PlaintextCounting };
}

/**
 * Remembers whose elements these were before a peer was removed or gave them up: what the table has counted since
 * the last reading is added to the peer's packets at the next one.
 */
export function keepFormerOwner(
  db: Connection,
  { name, podCIDRs, nodeIPs }: Pick<NodeRecord, "name" | "podCIDRs" | "nodeIPs">,
): void {
  if (podCIDRs.length + nodeIPs.length === 0) return;
  const { counting } = readPlaintext(db);
  if (counting === undefined) return;
  const former = { ...counting.former };
  for (const element of [...podCIDRs, ...nodeIPs]) former[element] = name;
  writeCounting(db, { ...counting, former });
}

function writeCounting(db: Connection, counting: PlaintextCounting): void {
  db.change("INSERT OR REPLACE INTO plaintext_counting VALUES (1, ?)", JSON.stringify(counting));
}

/** How long a peer is remembered that is no longer one, in milliseconds: 30 days. */
const rememberMs = 30 * 86_400_000;

/** Writes the rows that are new. Those of former peers go some time after their last packet. */
export function writePlaintext(db: Connection, now: PlaintextEvidence): void {
  db.transaction(() => {
    const before = readPlaintext(db);
    for (const [peer, record] of now.peers) {
      if (Bun.deepEquals(before.peers.get(peer), record)) continue;
      const { inPackets, outPackets, leakedPackets, droppedPackets, firstAtMs, lastAtMs } = record;
      db.change(
        "INSERT OR REPLACE INTO plaintext VALUES (?, ?, ?, ?, ?, ?, ?)",
        ...[peer, inPackets, outPackets, leakedPackets, firstAtMs, lastAtMs, droppedPackets],
      );
    }
    if (now.counting !== undefined) writeCounting(db, now.counting);
    const lastAtMs = Math.max(0, ...[...now.peers.values()].map((record) => record.lastAtMs));
    db.change(
      "DELETE FROM plaintext WHERE last_at_ms < ? AND peer NOT IN (SELECT name FROM peers)",
      lastAtMs - rememberMs,
    );
  });
}
