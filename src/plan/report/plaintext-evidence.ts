// Adds what the kernel has counted since the last reading to what is known. Pure: time is an argument.
//
//   the counter now                    packets since the last reading
//   ─────────────────────────────────  ───────────────────────────────────────────
//   in the same table, not smaller     the difference
//   in the same table, smaller         all that it shows: the element was made anew
//   in another table                   all that it shows, and perhaps more: a gap
//   in a set that was emptied          perhaps more: a gap
import { familyOf } from "../../net/ip.ts";
import type { NftCounter } from "../../net/nftables.ts";
import type { PlaintextCounting, PlaintextEvidence, PlaintextRecord } from "../../net/plaintext.ts";
import { countingSets, type Direction, families, podSet, type Remote } from "../firewall/sets.ts";

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
  /** True in strict mode, which drops what it counts. */
  readonly isDropping: boolean;
  /** The sets had the elements of all `remotes` since the last reading, so one that has none was emptied. */
  readonly isProgrammed?: true;
}

/** The knowledge of a reader about the state that the packets met. */
export type PlaintextJudge = Pick<PlaintextContext, "isProtected" | "isProgrammed">;

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
  /** True if packets may have gone uncounted: another table counts than at the last reading, or a set was emptied. */
  readonly hasGap: boolean;
  /** False if the evidence is what it was. */
  readonly hasChanged: boolean;
}

type Sums = Record<Direction, number>;
const directions: readonly Direction[] = ["in", "out"];

export function foldPlaintext(
  before: PlaintextEvidence,
  reading: CounterReading,
  { remotes, isProtected, isDropping, isProgrammed }: PlaintextContext,
): FoldedPlaintext {
  const known = before.counting;
  const isEmptied = isProgrammed === true && reading.table !== undefined && hasEmptied(reading, remotes);
  const isSame = known !== undefined && known.table === reading.table;
  const current = new Map(remotes.map(({ element, peer }) => [element, peer]));
  const owners = new Map([...Object.entries(known?.former ?? {}), ...current]);
  const { bases, sums } = sumGrowth(reading, isSame ? known.bases : {}, owners);
  const former = stillFormer(known?.former, reading, current);
  const counting: PlaintextCounting = {
    ...(reading.table === undefined ? {} : { table: reading.table }),
    sinceMs: isSame && !isEmptied ? known.sinceMs : reading.nowMs,
    bases,
    ...(former === undefined ? {} : { former }),
  };
  return {
    evidence: { counting, peers: addSums(before.peers, sums, { isProtected, isDropping }, reading.nowMs) },
    news: [...sums].flatMap(([peer, sum]) => newsOf(peer, sum, isProtected)),
    hasGap: known?.table !== undefined && (!isSame || isEmptied),
    // A counter that began anew is kept too: it may pass its former value before the next reading.
    hasChanged:
      !isSame || isEmptied || !Bun.deepEquals(bases, known.bases) || !Bun.deepEquals(former, known.former),
  };
}

/**
 * Returns the elements that had counted something at the last reading. If one of them is removed and made again before
 * the next, and counts as much, that reading takes it for the old one, and its packets are missed.
 */
export function countedElements({ counting }: PlaintextEvidence): ReadonlySet<string> {
  return new Set(Object.keys(counting?.bases ?? {}).map((key) => key.slice(key.indexOf(" ") + 1)));
}

/** True if a set of pods should have elements and has none. */
function hasEmptied({ counters }: CounterReading, remotes: readonly Remote[]): boolean {
  const pods = remotes.map(({ element }) => element).filter((element) => element.includes("/"));
  return families.some((family) => {
    const expected = pods.filter((element) => familyOf(element) === family);
    const isEmpty = (set: string) => !expected.some((element) => counters.get(set)?.has(element));
    return expected.length > 0 && directions.some((direction) => isEmpty(podSet(family, direction)));
  });
}

/** Adds up by peer what the counters have grown by since they stood at `before`. */
function sumGrowth(
  { counters }: CounterReading,
  before: PlaintextCounting["bases"],
  owners: ReadonlyMap<string, string>,
): { readonly bases: Record<string, number>; readonly sums: Map<string, Sums> } {
  const bases: Record<string, number> = {};
  const sums = new Map<string, Sums>();
  for (const { direction, name } of countingSets)
    for (const [element, { packets }] of counters.get(name) ?? []) {
      if (packets === 0) continue;
      const key = `${name} ${element}`;
      bases[key] = packets;
      const base = before[key] ?? 0;
      const added = packets >= base ? packets - base : packets;
      const peer = owners.get(element);
      if (added === 0 || peer === undefined) continue;
      const sum = sums.get(peer) ?? { in: 0, out: 0 };
      sum[direction] += added;
      sums.set(peer, sum);
    }
  return { bases, sums };
}

/** The former owners that are needed at the next reading; undefined if none is. */
function stillFormer(
  former: PlaintextCounting["former"],
  { counters }: CounterReading,
  current: ReadonlyMap<string, string>,
): PlaintextCounting["former"] {
  const isCounted = (element: string) => countingSets.some(({ name }) => counters.get(name)?.has(element));
  const left = Object.entries(former ?? {}).filter(
    ([element]) => !current.has(element) && isCounted(element),
  );
  return left.length === 0 ? undefined : Object.fromEntries(left);
}

function addSums(
  before: PlaintextEvidence["peers"],
  sums: ReadonlyMap<string, Sums>,
  { isProtected, isDropping }: Omit<PlaintextContext, "remotes">,
  nowMs: number,
): PlaintextEvidence["peers"] {
  const leakOf = (peer: string, sum: Sums) =>
    directions.reduce((leaked, one) => leaked + (isProtected(peer, one) ? sum[one] : 0), 0);
  const peers = new Map(before);
  for (const [peer, sum] of sums) {
    const added = { ...sum, leaked: leakOf(peer, sum), dropped: isDropping ? sum.in + sum.out : 0 };
    peers.set(peer, add(before.get(peer), added, nowMs));
  }
  return peers;
}

function add(
  before: PlaintextRecord | undefined,
  sum: Readonly<Sums> & { readonly leaked: number; readonly dropped: number },
  nowMs: number,
): PlaintextRecord {
  const { inPackets = 0, outPackets = 0, leakedPackets = 0, droppedPackets = 0 } = before ?? {};
  return {
    inPackets: inPackets + sum.in,
    outPackets: outPackets + sum.out,
    leakedPackets: leakedPackets + sum.leaked,
    droppedPackets: droppedPackets + sum.dropped,
    ...{ firstAtMs: before?.firstAtMs ?? nowMs, lastAtMs: nowMs },
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
