// The signal that guides the search. An outcome is a set of features: which key of a result has a value of which type
// and about which size, or the sentence of an error without names and numbers. Each refusal of ours has a sentence of
// its own, and each way through a reader leaves its trace in what it returns, so that a new feature is nearly always a
// new path through the code.

const maxDepth = 8;
const maxItems = 16;
/** Keys of a result may come from the input, without end. */
const maxFeatures = 20_000;

export class Features {
  readonly #seen = new Set<number>();
  readonly #sentences = new Set<string>();

  get count(): number {
    return this.#seen.size + this.#sentences.size;
  }

  /** Notes what a result has; returns true if something of it is new. */
  addValue(value: unknown): boolean {
    const before = this.#seen.size;
    if (before < maxFeatures) this.#walk(value, 1, 0);
    return this.#seen.size > before;
  }

  /** The same for a refusal or a fault. */
  addSentence(sentence: string): boolean {
    const before = this.#sentences.size;
    if (before < maxFeatures) this.#sentences.add(sentence);
    return this.#sentences.size > before;
  }

  #walk(value: unknown, path: number, depth: number): void {
    const isNest = typeof value === "object" && value !== null && !(value instanceof Uint8Array);
    this.#seen.add(join(path, isNest ? 1 : scalar(value)));
    if (!isNest || depth === maxDepth) return;
    if (Array.isArray(value)) {
      this.#seen.add(join(path, 100 + magnitude(value.length)));
      for (let i = 0; i < value.length && i < maxItems; i++) this.#walk(value[i], join(path, 2), depth + 1);
      return;
    }
    let left = maxItems;
    for (const key in value) {
      if (left-- === 0) return;
      this.#walk((value as Record<string, unknown>)[key], join(path, hashOf(key)), depth + 1);
    }
  }
}

/** The sentence of an error without the names and numbers in it. */
export function sentenceOf({ name, message }: Error): string {
  return `${name} ${templateOf(message)}`;
}

export function templateOf(text: string): string {
  return text.slice(0, 200).replace(/".*"|[\d.:/-]+|\b[0-9a-f]{6,}\b/gs, "_");
}

function scalar(value: unknown): number {
  switch (typeof value) {
    case "string":
      return 200 + magnitude(value.length);
    case "number":
      return Number.isInteger(value) ? 300 + magnitude(Math.abs(value)) : 400;
    case "boolean":
      return value ? 401 : 402;
    case "object":
      return value === null ? 403 : 500 + magnitude((value as Uint8Array).length);
    default:
      return 404;
  }
}

/** Few classes of sizes: 0, 1, 2, 3 to 8, 9 to 32, and so on. */
function magnitude(size: number): number {
  return size < 3 ? size : 2 + Math.ceil(Math.log2(size) / 2);
}

function join(path: number, next: number): number {
  return (Math.imul(path, 0x01000193) ^ next) | 0;
}

function hashOf(key: string): number {
  let hash = key.length;
  for (let i = 0; i < key.length && i < 32; i++) hash = join(hash, key.charCodeAt(i));
  return hash;
}
