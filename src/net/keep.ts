// Keeps results of pure functions. The agent asks the same questions about thousands of peers in each pass,
// and mostly nothing has changed.

/** Returns a function that computes once for each argument, and keeps the result as long as the argument lives. */
export function keepFor<Arg extends object, Result>(compute: (arg: Arg) => Result): (arg: Arg) => Result {
  const results = new WeakMap<Arg, { readonly result: Result }>();
  return (arg) => {
    const known = results.get(arg);
    if (known !== undefined) return known.result;
    const result = compute(arg);
    results.set(arg, { result });
    return result;
  };
}

/** Returns a function that computes anew only if an argument is another object or value than at its last call. */
export function keepLast<Args extends readonly unknown[], Result>(
  compute: (...args: Args) => Result,
): (...args: Args) => Result {
  let last: { readonly args: Args; readonly result: Result } | undefined;
  return (...args) => {
    if (last === undefined || !isSameList(args, last.args)) last = { args, result: compute(...args) };
    return last.result;
  };
}

/** Returns a function that returns its last list again if the items are the same: what was made of that list still holds. */
export function keepLastList<Item>(): (list: readonly Item[]) => readonly Item[] {
  let last: readonly Item[] = [];
  return (list) => {
    if (!isSameList(list, last)) last = list;
    return last;
  };
}

/** Returns `last` if the maps are equal, and else `map` with the values of `last` that are equal. */
export function keepEqual<Key, Value>(
  map: ReadonlyMap<Key, Value>,
  last: ReadonlyMap<Key, Value>,
): ReadonlyMap<Key, Value> {
  const kept = new Map<Key, Value>();
  let isEqual = map.size === last.size;
  for (const [key, value] of map) {
    const before = last.get(key);
    const stays = before !== undefined && Bun.deepEquals(value, before);
    kept.set(key, stays ? before : value);
    isEqual &&= stays;
  }
  return isEqual ? last : kept;
}

/** Does the same for lists that are sorted by name. */
export function keepEqualItems<Item extends { readonly name: string }>(
  list: readonly Item[],
  last: readonly Item[],
): readonly Item[] {
  let at = 0;
  const kept = list.map((item) => {
    let before = last[at];
    while (before !== undefined && before.name < item.name) before = last[++at];
    return before !== undefined && Bun.deepEquals(item, before) ? before : item;
  });
  return isSameList(kept, last) ? last : kept;
}

function isSameList(list: readonly unknown[], other: readonly unknown[]): boolean {
  if (list.length !== other.length) return false;
  for (let i = 0; i < list.length; i++) if (list[i] !== other[i]) return false;
  return true;
}
