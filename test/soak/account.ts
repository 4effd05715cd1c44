// The account of a soak run's packets: every loss and every packet in plaintext is either in a window
// that the run itself caused, or ours. A cut link loses what is sent through it, whatever the product
// does; a killed agent loses nothing. Pure.
import type { Kind, NodeIndex } from "./plan.ts";

/** What a kind of deed may cost, and until how long after its end. A kind that is not here costs nothing. */
export const excused: Partial<Record<Kind, Excuse>> = {
  // Its neighbours are asked for again once the link is back.
  "flap-link": { loses: true, afterMs: 3000, why: "nothing passes a link that is down" },
  // The agent that repairs it may be frozen or away for five seconds, and starts slowly on a busy machine.
  damage: { loses: false, afterMs: 12_000, why: "plain routing carries what has no route into the tunnel" },
};

interface Excuse {
  /** Packets may be lost; if not, they may only be in plaintext. */
  readonly loses: boolean;
  readonly afterMs: number;
  readonly why: string;
}

/** Times are milliseconds since the epoch. */
export interface Window {
  readonly kind: Kind;
  readonly node: NodeIndex;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Packets that were lost between two nodes. */
export interface Loss {
  readonly flow: string;
  readonly nodes: readonly [NodeIndex, NodeIndex];
  readonly packets: number;
  /** When the last packet before them that arrived was sent, and the first one after them. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Account {
  readonly excusedPackets: number;
  readonly unexcused: readonly Loss[];
}

/** A deed begins a little before its command has taken effect, and a packet takes its time. */
const beforeMs = 250;

export function accountLosses(losses: readonly Loss[], windows: readonly Window[]): Account {
  const flaps = windows.filter(({ kind }) => excused[kind]?.loses === true);
  const unexcused = losses.filter(({ nodes, fromMs, toMs }) => {
    const own = flaps.filter(({ node }) => nodes.includes(node));
    return !isCovered(fromMs, toMs, own.map(widen));
  });
  const packetsOf = (some: readonly Loss[]) => some.reduce((sum, { packets }) => sum + packets, 0);
  return { excusedPackets: packetsOf(losses) - packetsOf(unexcused), unexcused };
}

/** Returns the times in milliseconds at which a packet was in plaintext without an excuse. */
export function accountPlaintext(timesMs: readonly number[], windows: readonly Window[]): number[] {
  const spans = windows.filter(({ kind }) => excused[kind]?.loses === false).map(widen);
  return timesMs.filter((ms) => !spans.some(([from, to]) => ms >= from && ms <= to));
}

function widen({ kind, fromMs, toMs }: Window): readonly [number, number] {
  return [fromMs - beforeMs, toMs + (excused[kind]?.afterMs ?? 0)];
}

/** True if the spans together cover all of the time from one to the other. */
function isCovered(fromMs: number, toMs: number, spans: readonly (readonly [number, number])[]): boolean {
  let reached = fromMs;
  for (const [from, to] of [...spans].sort(([one], [other]) => one - other))
    if (from <= reached) reached = Math.max(reached, to);
  return spans.some(([from, to]) => from <= fromMs && fromMs <= to) && reached >= toMs;
}
