// The tables, as migrations: PRAGMA user_version counts the ones a file has had.
// Never edit one that was released; add the next. Tables are WITHOUT ROWID so
// that a row and its key are one page to write.
import type { Connection } from "./connection.ts";
import { addSums } from "./sums.ts";

/** A script of SQL, or what SQL cannot compute. */
export type Migration = string | ((db: Connection) => void);

/** One a version, applied in order. */
export const migrations: readonly Migration[] = [
  `
  -- One row, for what every ADD reads: one statement, prepared once. generation:
  -- of the intent; claim_seq: the last one given to a claim; settings: JSON object.
  CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot TEXT NOT NULL,
    generation INTEGER NOT NULL,
    claim_seq INTEGER NOT NULL,
    settings TEXT NOT NULL,
    programmed TEXT
  ) STRICT;
  INSERT INTO meta VALUES (1, '', 0, 0, '{}', NULL);

  CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    data TEXT NOT NULL
  ) STRICT;

  CREATE TABLE peers (
    name TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    claims TEXT NOT NULL,
    source TEXT NOT NULL,
    changed_at INTEGER NOT NULL
  ) STRICT;

  -- What the agent has decided, so that every process programs the same: JSON.
  CREATE TABLE agent (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    gated INTEGER NOT NULL,
    rotation TEXT,
    host_revert TEXT
  ) STRICT;
  INSERT INTO agent VALUES (1, 0, NULL, NULL);

  CREATE TABLE paths (
    peer TEXT PRIMARY KEY,
    path TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- Records of the watched directory that were not taken, by file.
  CREATE TABLE refused_records (
    file TEXT PRIMARY KEY,
    reason TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE attachments (
    network TEXT NOT NULL,
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    netns TEXT NOT NULL,
    role TEXT NOT NULL,
    host_dev TEXT,
    ips TEXT NOT NULL,
    restore TEXT NOT NULL,
    ipam TEXT,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (network, container_id, ifname)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE leases (
    network TEXT NOT NULL,
    ip TEXT NOT NULL,
    range_set INTEGER NOT NULL,
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    PRIMARY KEY (network, ip)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX leases_by_owner ON leases (network, container_id, ifname);

  -- The address at which the next search starts, so that an address rests before it is used again.
  CREATE TABLE last_leases (
    network TEXT NOT NULL,
    range_set INTEGER NOT NULL,
    ip TEXT NOT NULL,
    PRIMARY KEY (network, range_set)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE sysctls (
    path TEXT PRIMARY KEY,
    before TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- The prefixes of this node's pods that peers can read, for an ADD that waits for that: JSON list.
  ALTER TABLE agent ADD COLUMN announced TEXT;
  `,
  `
  -- Claims that have passed from a node without a session to the one that is there now: JSON list.
  ALTER TABLE agent ADD COLUMN lapses TEXT;
  `,
  `
  -- The record that a peer had before, if the present one has given up a CIDR or a node IP.
  ALTER TABLE peers ADD COLUMN previous TEXT;
  `,
  `
  -- The cluster's own hosts, which no peer may claim: JSON.
  ALTER TABLE agent ADD COLUMN cluster_hosts TEXT;
  `,
  `
  -- Slots of a peer's record whose proof is not of this peer, slot and key: JSON list; NULL if there are none.
  ALTER TABLE peers ADD COLUMN unproven TEXT;
  `,
  `
  -- Node IPs that a handshake of their peer came from. What an open gate leads to already stays as it is.
  CREATE TABLE node_ip_proofs (
    peer TEXT NOT NULL,
    ip TEXT NOT NULL,
    PRIMARY KEY (peer, ip)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO node_ip_proofs
    SELECT DISTINCT peers.name, node_ip.value
    FROM peers JOIN paths ON paths.peer = peers.name, json_each(peers.record, '$.nodeIPs') AS node_ip
    WHERE json_extract(paths.path, '$.slot') IS NOT NULL;
  `,
  `
  -- Stored values under their present names.
  ALTER TABLE refused_records RENAME TO rejected_records;
  UPDATE peers SET source = 'directory' WHERE source = 'folder';
  UPDATE paths SET path =
    json_remove(json_set(path, '$.initiate', json_extract(path, '$.provoke')), '$.provoke');
  `,
  `
  UPDATE meta SET settings =
    json_remove(json_set(settings, '$.plaintextWindow', json_extract(settings, '$.quietTime')), '$.quietTime')
    WHERE json_extract(settings, '$.quietTime') IS NOT NULL;
  `,
  `
  -- The state that the kernel was programmed to, under its present names.
  ALTER TABLE meta RENAME COLUMN programmed TO applied;
  UPDATE meta SET applied =
    json_remove(json_set(applied, '$.unsupported', json_extract(applied, '$.lacking')), '$.lacking')
    WHERE json_extract(applied, '$.lacking') IS NOT NULL;
  `,
  `
  -- Packets that went outside the tunnel, by peer, longer than the kernel's counters live.
  CREATE TABLE plaintext (
    peer TEXT PRIMARY KEY,
    in_packets INTEGER NOT NULL,
    out_packets INTEGER NOT NULL,
    leaked_packets INTEGER NOT NULL,
    first_at_ms INTEGER NOT NULL,
    last_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  -- Where those counters stood at the last reading: JSON.
  CREATE TABLE plaintext_counting (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    data TEXT NOT NULL
  ) STRICT;
  `,
  `
  -- What strict mode has dropped, apart from what went in plaintext before it.
  ALTER TABLE plaintext ADD COLUMN dropped_packets INTEGER NOT NULL DEFAULT 0;
  `,
  addSums,
];
