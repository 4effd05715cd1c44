// Our entry in the text of a network configuration: put in, replaced, taken out.
// Only the entry and one comma are touched, so taking out what was put in gives
// the bytes that were there, whatever else somebody has changed meanwhile. Pure.
import { type Entry, makesInterfaces, plainEntry } from "../plan/settings/entry.ts";
import { type ConfList, isOwn, type Plugin, parseConfList } from "./conflist.ts";
import { elementsOf, findMember, rootOf, type Span, slice, splice } from "./json-text.ts";

/** Of the plugins in a list that we write. */
const indentation = "    ";
/** Name of the network of a list that we write ourselves. */
const standaloneName = "wg-cni";

/**
 * A list with our entry once, behind the plugin that makes the interfaces. Where it is so
 * already the same text: we need not be the last, so two that chain themselves do not fight.
 * Without `wanted` an entry that is there stays as it is.
 */
export function chain(text: string, { plugins }: ConfList, wanted: Entry | undefined): string {
  const own = plugins.filter(isOwn);
  const isThere = own.length === 1 && !isOwn(plugins[0] as Plugin) && fits(own[0] as Plugin, wanted);
  if (isThere) return text;
  const kept = wanted ?? own.find((entry) => fits(entry, undefined)) ?? plainEntry;
  return append(unchain(text, plugins), kept);
}

/** A list without our entries; it must have others. */
export function unchain(text: string, plugins: readonly Plugin[]): string {
  let result = text;
  for (let i = plugins.length - 1; i >= 0; i--)
    if (isOwn(plugins[i] as Plugin)) result = splice(result, withComma(pluginSpans(result), i), "");
  return result;
}

/** A list with another entry in the place of its first plugin. */
export function replaceMain(list: string, entry: Entry): string {
  return splice(list, pluginSpans(list)[0] as Span, entryText(entry, isSpaced(list)));
}

/** The list that a single plugin becomes, as libcni makes it, with our entry behind. */
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
 * True where a list is what we have made of a single plugin, whichever entry it was made with.
 * Throws ParseError where one of the two is no network.
 */
export function isListOfSingle(list: string, single: string): boolean {
  parseConfList(".conf", single);
  const own = findOwn(list);
  return own !== undefined && listOfSingle(single, own) === list;
}

/** As above, of some single plugin: nobody else writes it to the same byte. */
export function isListOfAnySingle(list: string): boolean {
  parseConfList(".conflist", list);
  const first = slice(list, pluginSpans(list)[0] as Span);
  return isListOfSingle(list, first.replaceAll(`\n${indentation}`, "\n"));
}

/** The list of a node whose main plugin we are. */
export function standaloneList(entry: Entry): string {
  const version = `  "cniVersion": "1.0.0",\n  "name": "${standaloneName}",\n`;
  return `{\n${version}  "plugins": [${entryText(entry, true)}]\n}\n`;
}

/** True where a list is what we write for a node whose main plugin we are. */
export function isStandaloneList(list: string): boolean {
  const own = findOwn(list);
  return own !== undefined && standaloneList(own) === list;
}

function findOwn(list: string): Plugin | undefined {
  return parseConfList(".conflist", list).plugins.find(isOwn);
}

/** `wanted` undefined: anything that can work there. "ipam" behind another plugin cannot. */
function fits(entry: Entry, wanted: Entry | undefined): boolean {
  return wanted === undefined ? !makesInterfaces(entry) : Bun.deepEquals(entry, wanted);
}

function append(text: string, entry: Entry): string {
  const { start, end } = pluginSpans(text).at(-1) as Span;
  // The line break and the indentation that the last one has.
  const lead = text.slice(text.slice(0, start).trimEnd().length, start);
  return splice(text, { start: end, end }, `,${lead}${entryText(entry, isSpaced(text))}`);
}

/** An element with the comma before it, or the one after the first, and the whitespace there. */
function withComma(spans: readonly Span[], index: number): Span {
  const span = spans[index] as Span;
  const before = spans[index - 1];
  if (before !== undefined) return { start: before.end, end: span.end };
  return { start: span.start, end: (spans[index + 1] as Span).start };
}

function pluginSpans(text: string): Span[] {
  const plugins = findMember(text, rootOf(text), "plugins");
  if (plugins === undefined) throw new Error("plugins are looked for only in lists");
  return elementsOf(text, plugins);
}

/** On one line, in ASCII, so that it fits every text. */
function entryText(entry: Entry, spaced: boolean): string {
  const text = spaced ? JSON.stringify(entry, null, 1).replace(/\n\s*/g, " ") : JSON.stringify(entry);
  return text.replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function isSpaced(text: string): boolean {
  return /":\s/.test(text);
}
