// Finds the holders of thousands of prefixes of any lengths. All prefixes are known
// beforehand, so that they can be sorted once: of two prefixes that overlap one contains the
// other, and each then knows the narrowest one around it. Nothing here depends on how many different
// lengths there are, which a single record could choose. Pure.
import { compareSpans, type Span, spanContains, spanOf } from "../../net/span.ts";

/** Prefixes, each with the narrowest other one that contains it. */
export class Nesting {
  readonly #ids = new Map<string, number>();
  readonly #around: Int32Array;

  constructor(prefixes: Iterable<string>) {
    for (const prefix of prefixes) if (!this.#ids.has(prefix)) this.#ids.set(prefix, this.#ids.size);
    this.#around = new Int32Array(this.#ids.size).fill(-1);
    const sorted: { readonly id: number; readonly span: Span }[] = [];
    for (const [prefix, id] of this.#ids) sorted.push({ id, span: spanOf(prefix) });
    sorted.sort((a, b) => compareSpans(a.span, b.span));
    const open: { readonly id: number; readonly span: Span }[] = [];
    for (const entry of sorted) {
      let container = open.at(-1);
      while (container !== undefined && !spanContains(container.span, entry.span)) {
        open.pop();
        container = open.at(-1);
      }
      if (container !== undefined) this.#around[entry.id] = container.id;
      open.push(entry);
    }
  }

  get size(): number {
    return this.#ids.size;
  }

  /** Returns the number of a prefix; throws for one that was not given at the start. */
  idOf(prefix: string): number {
    const id = this.#ids.get(prefix);
    if (id === undefined) throw new RangeError(`${prefix} is none of these prefixes`);
    return id;
  }

  /** Returns the number of the narrowest prefix around one; -1 if there is none. */
  around(id: number): number {
    return this.#around[id] ?? -1;
  }
}

/** An owner with a prefix that it holds. */
export interface Holder {
  readonly owner: string;
  readonly prefix: string;
}

/** Prefixes that are held, in the order in which they were taken. */
export class PrefixOwners {
  readonly #nesting: Nesting;
  readonly #held: (Holder | undefined)[] = [];
  /** The first holders of two different owners below a prefix: at least one of them is not the owner that asks. */
  readonly #below: (readonly Holder[] | undefined)[] = [];

  constructor(nesting: Nesting) {
    this.#nesting = nesting;
  }

  /** Finds the other owner of the prefix, of the widest one around it, or of the first that was taken of its parts. */
  findOther(owner: string, prefix: string): Holder | undefined {
    const id = this.#nesting.idOf(prefix);
    let other = this.#held[id];
    if (other !== undefined && other.owner !== owner) return other;
    other = undefined;
    for (let outer = this.#nesting.around(id); outer >= 0; outer = this.#nesting.around(outer)) {
      const holder = this.#held[outer];
      if (holder !== undefined && holder.owner !== owner) other = holder;
    }
    return other ?? this.#below[id]?.find((holder) => holder.owner !== owner);
  }

  hold(holder: Holder): void {
    const id = this.#nesting.idOf(holder.prefix);
    this.#held[id] = holder;
    for (let outer = this.#nesting.around(id); outer >= 0; outer = this.#nesting.around(outer)) {
      const below = this.#below[outer] ?? [];
      // All prefixes around this one contain what it contains.
      if (below.length === 2 || below[0]?.owner === holder.owner) return;
      this.#below[outer] = [...below, holder];
    }
  }
}
