// The functions insert, replace and remove our entry in the text of a network
// configuration. They touch only the entry and one comma, so a removal restores the
// original bytes even if other programs changed other parts meanwhile. Pure.
import { type Entry, makesInterfaces, plainEntry } from "../plan/settings/entry.ts";
import { type ConfList, isOwn, type Plugin, parseConfList } from "./conflist.ts";
import { elementsOf, findMember, rootOf, type Span, slice, splice } from "./json-text.ts";

/** The plugins in a list that we write are indented by this. */
const indentation = "    ";
/** A list that we write ourselves has this network name. */
const standaloneName = "wg-cni";

/**
 * Returns the list with our entry once, after the plugin that makes the interfaces. If that is
 * already so, the text stays the same: our entry need not be the last, so two plugins that chain
 * themselves do not contend. Without `wanted` an existing entry stays as it is.
 */
export function chain(text: string, { plugins }: ConfList, wanted: Entry | undefined): string {
  const own = plugins.filter(isOwn);
  const isThere = own.length === 1 && !isOwn(plugins[0] as Plugin) && fits(own[0] as Plugin, wanted);
  if (isThere) return text;
  const kept = wanted ?? own.find((entry) => fits(entry, undefined)) ?? plainEntry;
  return append(unchain(text, plugins), kept);
}

/** Returns the list without our entries; it must have other entries. */
export function unchain(text: string, plugins: readonly Plugin[]): string {
  let result = text;
  for (let i = plugins.length - 1; i >= 0; i--)
    if (isOwn(plugins[i] as Plugin)) result = splice(result, withComma(pluginSpans(result), i), "");
  return result;
}

/** Returns the list with another entry in place of its first plugin. */
export function replaceMain(list: string, entry: Entry): string {
  return splice(list, pluginSpans(list)[0] as Span, entryText(entry, isSpaced(list)));
}

/** Returns the list that a single plugin becomes, as libcni makes it, with our entry after it. */
export function listOfSingle(single: string, entry: Entry): string {
  const root = rootOf(single);
  const member = (key: string) => {
    const span = findMember(single, root, key);
    return span === undefined ? [] : [`  "${key}": ${slice(single, span)},`];
  };
  const plugin = slice(single, root).replaceAll("\n", `\n${indentation}`);
  const plugins = `${indentation}${plugin},\n${indentation}${entryText(entry, true)}`;
  return ["{", ...member("cniVersion"), ...member("name"), `  "plugins": [\n${plugins}\n  ]`, "}", ""].join(
    "\n",
  );
}

/**
 * True if we made the list from the single plugin, whichever entry it was made with.
 * Throws ParseError if one of the two is not a network configuration.
 */
export function isListOfSingle(list: string, single: string): boolean {
  parseConfList(".conf", single);
  const own = findOwn(list);
  return own !== undefined && listOfSingle(single, own) === list;
}

/** True if we made the list from any single plugin: no other program writes exactly these bytes. */
export function isListOfAnySingle(list: string): boolean {
  parseConfList(".conflist", list);
  const first = slice(list, pluginSpans(list)[0] as Span);
  return isListOfSingle(list, first.replaceAll(`\n${indentation}`, "\n"));
}

/** Returns the list for a node whose main plugin we are. */
export function standaloneList(entry: Entry): string {
  const version = `  "cniVersion": "1.0.0",\n  "name": "${standaloneName}",\n`;
  return `{\n${version}  "plugins": [${entryText(entry, true)}]\n}\n`;
}

/** True if the list is the one that we write for a node whose main plugin we are. */
export function isStandaloneList(list: string): boolean {
  const own = findOwn(list);
  return own !== undefined && standaloneList(own) === list;
}

function findOwn(list: string): Plugin | undefined {
  return parseConfList(".conflist", list).plugins.find(isOwn);
}

/** If `wanted` is undefined, any entry fits that can work after another plugin; one with "ipam" cannot. */
function fits(entry: Entry, wanted: Entry | undefined): boolean {
  return wanted === undefined ? !makesInterfaces(entry) : Bun.deepEquals(entry, wanted);
}

function append(text: string, entry: Entry): string {
  const { start, end } = pluginSpans(text).at(-1) as Span;
  // Our entry gets the line break and the indentation of the last plugin.
  const lead = text.slice(text.slice(0, start).trimEnd().length, start);
  return splice(text, { start: end, end }, `,${lead}${entryText(entry, isSpaced(text))}`);
}

/** Returns the span of an element with the comma before it, or, for the first element, the comma after it, and the whitespace there. */
function withComma(spans: readonly Span[], index: number): Span {
  const span = spans[index] as Span;
  const before = spans[index - 1];
  if (before !== undefined) return { start: before.end, end: span.end };
  return { start: span.start, end: (spans[index + 1] as Span).start };
}

function pluginSpans(text: string): Span[] {
  const plugins = findMember(text, rootOf(text), "plugins");
  if (plugins === undefined) throw new Error("plugins are searched only in lists");
  return elementsOf(text, plugins);
}

/** Writes the entry on one line in ASCII, so that it fits every text. */
function entryText(entry: Entry, spaced: boolean): string {
  const text = spaced ? JSON.stringify(entry, null, 1).replace(/\n\s*/g, " ") : JSON.stringify(entry);
  return text.replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function isSpaced(text: string): boolean {
  return /":\s/.test(text);
}
