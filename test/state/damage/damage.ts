// Damages files of a store as disks, file systems and people do: by a seed, so that each case can be made again.
import type { Random } from "../../plan/random.ts";
import { pick } from "../../plan/random.ts";

/** A store's files by name; one that is missing is not there. */
export type Files = Map<string, Uint8Array>;

const pageBytes = 4096;
/** Frames of the log: 24 bytes before each page, 32 before them all ("WAL File Format"). */
const logHeaderBytes = 32;
const frameHeaderBytes = 24;

interface Damage {
  readonly name: string;
  readonly apply: (bytes: Uint8Array, random: Random, file: string) => Uint8Array | undefined;
}

const damages: readonly Damage[] = [
  { name: "flipped bits", apply: (bytes, random) => flip(bytes, random, 1 + below(random, 8)) },
  { name: "a flipped bit", apply: (bytes, random) => flip(bytes, random, 1) },
  { name: "a burst of other bytes", apply: overwrite },
  { name: "cut off", apply: (bytes, random) => bytes.slice(0, below(random, bytes.length)) },
  { name: "two pages exchanged", apply: exchangePages },
  { name: "a page of zeroes", apply: zeroPage },
  { name: "a page written over another", apply: copyPage },
  { name: "removed", apply: () => undefined },
  { name: "emptied", apply: () => new Uint8Array() },
];

/** The files and what was done to them. `older`: the log from before the last commits. */
export function damage(files: Files, older: Uint8Array, random: Random): { files: Files; what: string } {
  const damaged = new Map(files);
  if (random() < 0.05) {
    damaged.set("state.db-wal", older);
    return { files: damaged, what: "state.db-wal: an older one" };
  }
  // The database itself is what a new node has none of: a removed one is the operator's doing.
  const file = pick(random, [...files.keys()]);
  const possible = file === "state.db" ? damages.filter(({ name }) => name !== "removed") : damages;
  const { name, apply } = pick(random, possible);
  const after = apply((files.get(file) as Uint8Array).slice(), random, file);
  if (after === undefined) damaged.delete(file);
  else damaged.set(file, after);
  return { files: damaged, what: `${file}: ${name}` };
}

function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

function flip(bytes: Uint8Array, random: Random, count: number): Uint8Array {
  for (let i = 0; i < count && bytes.length > 0; i++) {
    const at = below(random, bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << below(random, 8));
  }
  return bytes;
}

function overwrite(bytes: Uint8Array, random: Random): Uint8Array {
  const from = below(random, bytes.length);
  const to = Math.min(bytes.length, from + 1 + below(random, 512));
  for (let i = from; i < to; i++) bytes[i] = below(random, 256);
  return bytes;
}

function exchangePages(bytes: Uint8Array, random: Random, file: string): Uint8Array {
  const [a, b] = [somePage(bytes, random, file), somePage(bytes, random, file)];
  const kept = bytes.slice(a, a + pageBytes);
  bytes.copyWithin(a, b, b + pageBytes);
  bytes.set(kept, b);
  return bytes;
}

function zeroPage(bytes: Uint8Array, random: Random, file: string): Uint8Array {
  const at = somePage(bytes, random, file);
  return bytes.fill(0, at, at + pageBytes);
}

function copyPage(bytes: Uint8Array, random: Random, file: string): Uint8Array {
  const [from, to] = [somePage(bytes, random, file), somePage(bytes, random, file)];
  return bytes.copyWithin(to, from, from + pageBytes);
}

/** The offset of a page; 0 in a file without a whole one. */
function somePage(bytes: Uint8Array, random: Random, file: string): number {
  const [first, step] =
    file === "state.db-wal"
      ? [logHeaderBytes + frameHeaderBytes, frameHeaderBytes + pageBytes]
      : [0, pageBytes];
  const count = Math.floor((bytes.length - first + step - pageBytes) / step);
  return count < 1 ? 0 : first + step * below(random, count);
}
