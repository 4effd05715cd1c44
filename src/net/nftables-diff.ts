// Compares an observed table with the wanted one and returns the changes: rules
// of the chains that differ, and the elements that are too many or too few.
// Elements that stay are not touched, so that they go on counting. Pure.
import type { NftChain, NftCommand, NftRule, NftSet, NftTable, NftTableName } from "./nftables.ts";
import { formatNftRule } from "./nftables-text.ts";

/**
 * Returns the commands for one transaction; none if the tables are equal. If the table has an
 * extraneous object that cannot become part of the wanted table, it is made anew in the same
 * transaction.
 */
export function diffNftTables(wanted: NftTable, observed: NftTable | undefined): NftCommand[] {
  if (wanted === observed) return [];
  const { family, name } = wanted;
  const table = { family, name };
  const add: NftCommand = { table, do: "addTable" };
  const nothing: NftTable = { ...table, sets: [], chains: [], foreign: [] };
  if (observed === undefined) return [add, ...changes(wanted, nothing)];
  if (isForeign(wanted, observed)) return [{ table, do: "deleteTable" }, add, ...changes(wanted, nothing)];
  return changes(wanted, observed);
}

/** True if both tables are equal, foreign objects included, or neither exists. */
export function isSameNftTable(a: NftTable | undefined, b: NftTable | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const isSameForeign = a.foreign.join("\n") === b.foreign.join("\n");
  return isSameForeign && diffNftTables({ ...a, foreign: [] }, { ...b, foreign: [] }).length === 0;
}

/** True if the table has an object that cannot become part of the wanted table. */
function isForeign(wanted: NftTable, observed: NftTable): boolean {
  const sets = byName(wanted.sets);
  const chains = byName(wanted.chains);
  return (
    observed.foreign.length > 0 ||
    observed.sets.some((set) => !isSameSet(set, sets.get(set.name) ?? set)) ||
    observed.chains.some((chain) => !isSameChain(chain, chains.get(chain.name) ?? chain))
  );
}

/**
 * Splits the commands for a table into transactions. Rules look into sets, and the kernel commits a transaction in parts:
 * new rules first, the elements of sets with intervals a moment later (nf_tables_commit, nft_set_commit_update; seen
 * on Linux 6.18). In that moment a rule finds none of them. So elements that are only added come in a transaction
 * before the rules. A table that is made anew in the place of another one still has such a moment: to have no rules in
 * between would be longer.
 */
export function splitTransactions(commands: readonly NftCommand[]): (readonly NftCommand[])[] {
  const isAddition = ({ do: deed }: NftCommand) =>
    deed === "addTable" || deed === "addSet" || deed === "addElements";
  const rest = commands.findIndex((command) => !isAddition(command));
  const [before, after] = [commands.slice(0, Math.max(rest, 0)), commands.slice(Math.max(rest, 0))];
  const isApart =
    before.some(({ do: deed }) => deed === "addElements") && after.some(({ do: deed }) => deed === "addRule");
  return isApart ? [before, after] : [commands];
}

/** Returns the table with what the commands add to it: sets and elements only. */
export function withAdditions(table: NftTable, commands: readonly NftCommand[]): NftTable {
  const sets = byName(table.sets);
  for (const command of commands) {
    if (command.do === "addSet") sets.set(command.set.name, { ...command.set, elements: new Set() });
    if (command.do !== "addElements") continue;
    const there = sets.get(command.set.name)?.elements ?? [];
    sets.set(command.set.name, { ...command.set, elements: new Set([...there, ...command.elements]) });
  }
  return { ...table, sets: [...sets.values()] };
}

/**
 * Returns the changes in an order that the kernel accepts: rules drop their references before the objects change, and
 * get them afterwards; elements leave before new ones take their place. Sets that only grow come first.
 */
function changes(wanted: NftTable, observed: NftTable): NftCommand[] {
  const table = { family: wanted.family, name: wanted.name };
  const sets = byName(observed.sets);
  const chains = byName(observed.chains);
  const different = wanted.chains.filter(({ name, rules }) => !isSameRules(rules, chains.get(name)?.rules));
  const surplus = without(observed.chains, wanted.chains);
  const elements = wanted.sets.map((set) => elementChanges(table, set, sets.get(set.name)?.elements));
  const isGrowth = (of: readonly NftCommand[]) => of.every(({ do: deed }) => deed === "addElements");
  const commands: NftCommand[] = [];
  for (const { elements: _, ...set } of wanted.sets)
    if (!sets.has(set.name)) commands.push({ table, do: "addSet", set });
  commands.push(...elements.filter(isGrowth).flat());
  for (const { name } of [...different, ...surplus])
    if ((chains.get(name)?.rules.length ?? 0) > 0) commands.push({ table, do: "flushChain", chain: name });
  for (const { name } of surplus) commands.push({ table, do: "deleteChain", chain: name });
  for (const { name } of without(observed.sets, wanted.sets))
    commands.push({ table, do: "deleteSet", set: name });
  commands.push(...elements.filter((of) => !isGrowth(of)).flat());
  for (const { name, base } of wanted.chains)
    if (!chains.has(name))
      commands.push({ table, do: "addChain", chain: base === undefined ? { name } : { name, base } });
  for (const { name, rules } of different)
    for (const rule of rules) commands.push({ table, do: "addRule", chain: name, rule });
  return commands;
}

function elementChanges(
  table: NftTableName,
  { elements: wanted, ...set }: NftSet,
  observed: ReadonlySet<string> = new Set(),
): NftCommand[] {
  // Tables that were made one after the other share the sets whose elements are the same.
  if (wanted === observed) return [];
  const missing: string[] = [];
  for (const element of wanted) if (!observed.has(element)) missing.push(element);
  const surplus: string[] = [];
  // If as many are there as stay, there is none too many, and no search is needed.
  if (observed.size > wanted.size - missing.length)
    for (const element of observed) if (!wanted.has(element)) surplus.push(element);
  const commands: NftCommand[] = [];
  if (surplus.length > 0) commands.push({ table, do: "deleteElements", set, elements: surplus });
  if (missing.length > 0) commands.push({ table, do: "addElements", set, elements: missing });
  return commands;
}

function isSameSet(a: NftSet, b: NftSet): boolean {
  const isSame = a.family === b.family && a.interval === b.interval && a.counter === b.counter;
  return isSame && a.dynamic === b.dynamic && a.timeoutMinutes === b.timeoutMinutes;
}

function isSameChain({ base: a }: NftChain, { base: b }: NftChain): boolean {
  return a?.type === b?.type && a?.hook === b?.hook && a?.priority === b?.priority && a?.policy === b?.policy;
}

function isSameRules(a: readonly NftRule[], b: readonly NftRule[] = []): boolean {
  return (
    a === b ||
    (a.length === b.length && a.every((rule, i) => formatNftRule(rule) === formatNftRule(b[i] as NftRule)))
  );
}

/** Returns the entries of the first list that have no namesake in the second. */
function without<T extends { readonly name: string }>(items: readonly T[], others: readonly T[]): T[] {
  const names = byName(others);
  return items.filter(({ name }) => !names.has(name));
}

function byName<T extends { readonly name: string }>(items: readonly T[]): Map<string, T> {
  return new Map(items.map((item) => [item.name, item]));
}
