/** Most lists are of a handful of items, for which a set costs more than it saves. */
const shortList = 8;

/** Returns the items that are not in `held`, in their order. */
export function without(items: readonly string[], held: readonly string[]): string[] {
  if (held.length <= shortList) return items.filter((item) => !held.includes(item));
  const set = new Set(held);
  return items.filter((item) => !set.has(item));
}
