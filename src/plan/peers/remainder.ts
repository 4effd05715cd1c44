// Keeps the rest of a record's networks and addresses while other peers take parts of them. The parts are
// sorted, so that one is found at once: a peer may claim thousands of addresses of one network. Pure.
import { hostPrefix, subtractPrefix } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import { compareSpans, type Span, spanContains, spanOf, spansOverlap } from "../../net/span.ts";

interface Piece {
  readonly prefix: string;
  readonly span: Span;
  /** The network of the record that the piece is a part of. */
  readonly whole: string;
}

export class Remainder {
  readonly #record: NodeRecord;
  /** The pieces in the order of addresses; none contains another. */
  readonly #pieces: Piece[] = [];
  #hosts: readonly { readonly ip: string; readonly span: Span }[];

  constructor(record: NodeRecord) {
    this.#record = record;
    this.#hosts = record.nodeIPs.map((ip) => ({ ip, span: spanOf(hostPrefix(ip)) }));
    const networks = record.podCIDRs.map((prefix) => ({ prefix, span: spanOf(prefix), whole: prefix }));
    for (const piece of networks.sort((a, b) => compareSpans(a.span, b.span))) {
      const last = this.#pieces.at(-1);
      if (last === undefined || !spanContains(last.span, piece.span)) this.#pieces.push(piece);
    }
  }

  /** Removes the part that a prefix covers; returns false if it covers nothing. */
  take(prefix: string): boolean {
    const span = spanOf(prefix);
    const hosts = this.#hosts.filter((host) => !spansOverlap(host.span, span));
    const hadHosts = hosts.length < this.#hosts.length;
    this.#hosts = hosts;
    const from = this.#firstNotBefore(span);
    let to = from;
    while (to < this.#pieces.length && spansOverlap((this.#pieces[to] as Piece).span, span)) to++;
    const touched = this.#pieces.slice(from, to);
    const kept = touched.flatMap((piece) => (spanContains(span, piece.span) ? [] : without(piece, prefix)));
    if (touched.length > 0) this.#pieces.splice(from, touched.length, ...kept);
    return hadHosts || touched.length > 0;
  }

  /** Returns the record with the remaining networks. */
  get record(): NodeRecord {
    const ofWhole = Map.groupBy(this.#pieces, ({ whole }) => whole);
    const podCIDRs = this.#record.podCIDRs.flatMap((whole) =>
      (ofWhole.get(whole) ?? []).map(({ prefix }) => prefix),
    );
    return { ...this.#record, nodeIPs: this.#hosts.map(({ ip }) => ip), podCIDRs };
  }

  /** For each piece that is not a whole network of the record, the network that it belongs to. */
  get wholes(): ReadonlyMap<string, string> {
    return new Map(
      this.#pieces
        .filter(({ prefix, whole }) => prefix !== whole)
        .map(({ prefix, whole }) => [prefix, whole]),
    );
  }

  /** The first piece that does not end before the span begins. */
  #firstNotBefore(span: Span): number {
    let [low, high] = [0, this.#pieces.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const piece = (this.#pieces[middle] as Piece).span;
      if (compareSpans(piece, span) < 0 && !spansOverlap(piece, span)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function without({ prefix, whole }: Piece, part: string): Piece[] {
  return subtractPrefix(prefix, part)
    .map((left) => ({ prefix: left, span: spanOf(left), whole }))
    .sort((a, b) => compareSpans(a.span, b.span));
}
