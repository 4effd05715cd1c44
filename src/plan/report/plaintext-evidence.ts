// Adds what the kernel has counted since the last reading to what is known. Pure: time is an argument.
//
//   the counter now                    packets since the last reading
//   ─────────────────────────────────  ───────────────────────────────────────────
//   in the same table, not smaller     the difference
//   in the same table, smaller         all that it shows: the element was made anew
//   in another table                   all that it shows, and perhaps more: a gap
import type { NftCounter } from "../../net/nftables.ts";
import type { PlaintextCounting, PlaintextEvidence, PlaintextRecord } from "../../net/plaintext.ts";
import { countingSets, type Direction, type Remote } from "../firewall/sets.ts";

/** One reading of the table. */
export interface CounterReading {
  /** Names the table that counts, unlike every table before; absent if there is none. */
  readonly table?: string;
  /** Set -> element -> counter. */
  readonly counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

export interface PlaintextContext {
  /** The owners of the elements of the sets. */
  readonly remotes: readonly Remote[];
  /** True if packets to the peer ("out") or from it ("in") should have been in the tunnel. */
  readonly isProtected: (peer: string, direction: Direction) => boolean;
}

/** Packets that a reading has added. */
export interface PlaintextNews {
  readonly peer: string;
  readonly direction: Direction;
  readonly packets: number;
  /** True if they should have been in the tunnel. */
  readonly isLeak: boolean;
}

export interface FoldedPlaintext {
  readonly evidence: PlaintextEvidence;
  readonly news: readonly PlaintextNews[];
  /** True if another table counts than at the last reading, so that packets may have gone uncounted. */
  readonly hasGap: boolean;
  /** False if the evidence is what it was. */
  readonly hasChanged: boolean;
}

type Sums = Record<Direction, number>;
const directions: readonly Direction[] = ["in", "out"];

export function foldPlaintext(
  before: PlaintextEvidence,
  { table, counters, nowMs }: CounterReading,
  { remotes, isProtected }: PlaintextContext,
): FoldedPlaintext {
  const known = before.counting;
  const isSame = known !== undefined && known.table === table;
  const owners = new Map(remotes.map(({ element, peer }) => [element, peer]));
  const bases: Record<string, number> = {};
  const sums = new Map<string, Sums>();
  for (const { direction, name } of countingSets)
    for (const [element, { packets }] of counters.get(name) ?? []) {
      if (packets === 0) continue;
      const key = `${name} ${element}`;
      bases[key] = packets;
      const base = isSame ? (known.bases[key] ?? 0) : 0;
      const added = packets >= base ? packets - base : packets;
      const peer = owners.get(element);
      if (added === 0 || peer === undefined) continue;
      const sum = sums.get(peer) ?? { in: 0, out: 0 };
      sum[direction] += added;
      sums.set(peer, sum);
    }
  const leakOf = (peer: string, sum: Sums) =>
    directions.reduce((leaked, one) => leaked + (isProtected(peer, one) ? sum[one] : 0), 0);
  const peers = new Map(before.peers);
  for (const [peer, sum] of sums) peers.set(peer, add(peers.get(peer), sum, leakOf(peer, sum), nowMs));
  const counting: PlaintextCounting = {
    ...(table === undefined ? {} : { table }),
    sinceMs: isSame ? known.sinceMs : nowMs,
    bases,
  };
  return {
    evidence: { counting, peers },
    news: [...sums].flatMap(([peer, sum]) => newsOf(peer, sum, isProtected)),
    hasGap: known?.table !== undefined && !isSame,
    // A counter that began anew is kept too: it may pass its former value before the next reading.
    hasChanged: !isSame || !Bun.deepEquals(bases, known.bases),
  };
}

function add(
  before: PlaintextRecord | undefined,
  sum: Readonly<Sums>,
  leaked: number,
  nowMs: number,
): PlaintextRecord {
  const { inPackets = 0, outPackets = 0, leakedPackets = 0, firstAtMs = nowMs } = before ?? {};
  return {
    inPackets: inPackets + sum.in,
    outPackets: outPackets + sum.out,
    leakedPackets: leakedPackets + leaked,
    ...{ firstAtMs, lastAtMs: nowMs },
  };
}

function newsOf(
  peer: string,
  sum: Readonly<Sums>,
  isProtected: PlaintextContext["isProtected"],
): PlaintextNews[] {
  return directions.flatMap((direction) =>
    sum[direction] === 0
      ? []
      : [{ peer, direction, packets: sum[direction], isLeak: isProtected(peer, direction) }],
  );
}

/** How long nothing has leaked, and the peers of the last packets that did. */
export interface PlaintextWindow {
  readonly forMs: number;
  readonly peers: readonly string[];
}

/** Undefined if nothing counts. Packets before `sinceMs` of the counting are not known. */
export function plaintextWindow(
  { counting, peers }: PlaintextEvidence,
  nowMs: number,
): PlaintextWindow | undefined {
  if (counting?.table === undefined) return undefined;
  const lasts = [...peers].map(([name, { lastAtMs }]) => ({ name, lastAtMs }));
  const lastAtMs = Math.max(counting.sinceMs, ...lasts.map((one) => one.lastAtMs));
  const loud = lasts.filter((one) => one.lastAtMs === lastAtMs).map(({ name }) => name);
  return { forMs: nowMs - lastAtMs, peers: loud.sort() };
}
