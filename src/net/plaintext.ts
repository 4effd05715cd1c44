// The knowledge of packets that went outside the tunnel lives longer than the kernel's counters. The store
// keeps it, so that a reload of the firewall, `down` and `up`, a restart or a boot loses none.

/** The packets between the pods of this node and a peer's that went outside the tunnel. */
export interface PlaintextRecord {
  /** Arrived in plaintext. */
  readonly inPackets: number;
  /** Left in plaintext; in strict mode, were about to. */
  readonly outPackets: number;
  /** Those of both while they should have been in the tunnel. */
  readonly leakedPackets: number;
  /** Those of both that strict mode counted, and dropped. */
  readonly droppedPackets: number;
  /** Unix milliseconds of the reading that saw the first, and of the one that saw the last; 0 is unknown. */
  readonly firstAtMs: number;
  readonly lastAtMs: number;
}

/** The kernel's counters at the last reading that was kept. */
export interface PlaintextCounting {
  /** The table that counts: another one begins at 0. Absent if there was none. */
  readonly table?: string;
  /** Unix milliseconds since which everything has been counted. */
  readonly sinceMs: number;
  /** The counters that are not 0, by set and element. */
  readonly bases: Readonly<Record<string, number>>;
  /** The owners of elements whose peers were removed or gave them up, for as long as the table has the elements. */
  readonly former?: Readonly<Record<string, string>>;
}

export interface PlaintextEvidence {
  /** Absent before the first reading. */
  readonly counting?: PlaintextCounting;
  /** By the peer's name. */
  readonly peers: ReadonlyMap<string, PlaintextRecord>;
}
