// From the texts in a directory of network configurations, `decide` derives one decision
// that makes the pods of the network in use go through wg-cni. After it is carried out,
// the next call decides anew. remove.ts plans the reverse. Pure.
//
//   file in use              becomes
//   10-x.conflist            itself with our entry, by rename
//   10-x.conf, 10-x.json     10-x.conflist; the original is kept beside it as a hidden backup
//   none, half-written, …    nothing: wait for the program that writes it
import { attempt, ParseError } from "../net/error.ts";
import { type Entry, makesInterfaces, plainEntry } from "../plan/settings/entry.ts";
import {
  chain,
  isListOfAnySingle,
  isListOfSingle,
  isStandaloneList,
  listOfSingle,
  replaceMain,
  standaloneList,
} from "./chain.ts";
import {
  type ConfList,
  confFiles,
  isOwn,
  isStandalone,
  ownType,
  type Plugin,
  parseConfList,
  requireKnownVersion,
} from "./conflist.ts";

/** The content is a file's text with one character per byte, or the reason why it cannot be read. */
export type Content = { readonly text: string } | { readonly problem: string };

/** The map has all network configurations of the directory, and the backups of originals. */
export type ConfDirectory = ReadonlyMap<string, Content>;

export interface Wanted {
  /** If it is absent, an existing entry stays as it is, and a new one has no keys of its own. With "ipam" we are the main plugin. */
  readonly entry?: Entry;
}

export type Decision =
  /** Nothing has to change: `file` is in use and calls `types` in turn. */
  | { readonly do: "nothing"; readonly file: string; readonly types: readonly string[] }
  /** Nothing can be done yet; `reason` is a sentence. */
  | { readonly do: "wait"; readonly reason: string }
  | { readonly do: "write"; readonly file: string; readonly was: string | undefined; readonly text: string }
  /** `list`, which contains `listWas`, is written with `text`; then `single`, which contains `was`, becomes a backup. */
  | {
      readonly do: "convert";
      readonly single: string;
      readonly was: string;
      readonly list: string;
      readonly listWas: string | undefined;
      readonly text: string;
    };

/** We write this file if we are the main plugin. */
export const standaloneFile = "10-wg-cni.conflist";

/** Returns the name of the backup of a single plugin; no runtime reads files with this extension. */
export function backupName(single: string): string {
  return `.${single}.before-wg-cni`;
}

/** Returns the name of the single plugin that a backup was made of, or undefined if the name is not a backup's. */
export function findSingle(backup: string): string | undefined {
  return /^\.(.+\.(?:conf|json))\.before-wg-cni$/.exec(backup)?.[1];
}

/** Returns the name of the list that replaces a single plugin. */
export function listName(single: string): string {
  return single.replace(/\.(conf|json)$/, ".conflist");
}

/** Decides what to do next. `hasPlugin` tells whether the directory of plugins has a type. */
export function decide(
  directory: ConfDirectory,
  { entry }: Wanted,
  hasPlugin: (type: string) => boolean,
): Decision {
  const first = confFiles([...directory.keys()])[0];
  if (entry !== undefined && makesInterfaces(entry)) return decideStandalone(directory, first, entry);
  if (first === undefined) return wait("There is no network configuration yet");
  const file = findRewritten(directory, first) ?? first;
  try {
    return decideChained(directory, file, entry, hasPlugin);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return wait(`${file} cannot be used: ${error.message}`);
  }
}

function decideChained(
  directory: ConfDirectory,
  file: string,
  entry: Entry | undefined,
  hasPlugin: (type: string) => boolean,
): Decision {
  const text = getText(directory, file);
  const network = parseConfList(file, text);
  if (isStandalone(network)) return done(file, network);
  requireKnownVersion(text);
  const main = network.plugins.find((plugin) => !isOwn(plugin));
  if (main === undefined)
    throw new ParseError(`it has only ${ownType}, and no "ipam" for it: nothing makes the interfaces`);
  if (!hasPlugin(main.type))
    throw new ParseError(
      `its plugin ${main.type} is not in the directory of plugins: is that the directory that the runtime uses?`,
    );
  if (network.form === "single") return convert(directory, file, text, entry);
  const chained = chain(text, network, entry);
  if (chained === text) return done(file, network);
  return { do: "write", file, was: text, text: chained };
}

function convert(directory: ConfDirectory, single: string, was: string, entry: Entry | undefined): Decision {
  const list = listName(single);
  const text = listOfSingle(was, entry ?? plainEntry);
  if (directory.has(list) && !isOurList(directory, list))
    throw new ParseError(
      `it would have to become ${list}, which is there already and not from wg-cni: remove one of the two`,
    );
  const before = directory.get(list);
  const listWas = before !== undefined && "text" in before ? before.text : undefined;
  return { do: "convert", single, was, list, listWas, text };
}

/** Returns the single plugin that a list of ours replaces, if its owner has written it again: a `.json` sorts after its list. */
function findRewritten(directory: ConfDirectory, list: string): string | undefined {
  if (!isOurList(directory, list)) return undefined;
  return singlesOf(list).find((single) => directory.has(single));
}

/** Returns the names of the single plugins that a list may have been made from. */
export function singlesOf(list: string): string[] {
  return ["conf", "json"].map((extension) => list.replace(/conflist$/, extension));
}

/** True if the list is one that we make from a single plugin. */
export function isOurList(directory: ConfDirectory, list: string): boolean {
  const content = directory.get(list);
  if (!list.endsWith(".conflist") || content === undefined || "problem" in content) return false;
  return isTrue(() => isListOfAnySingle(content.text));
}

/** True if the list is the one that we make from this single plugin. */
export function isListOf(directory: ConfDirectory, list: string, single: string): boolean {
  const [content, origin] = [directory.get(list), directory.get(single)];
  if (content === undefined || origin === undefined || "problem" in content || "problem" in origin)
    return false;
  return isTrue(() => isListOfSingle(content.text, origin.text));
}

/** A text that cannot be parsed is none of ours. */
function isTrue(check: () => boolean): boolean {
  return attempt(ParseError, check, () => false);
}

function decideStandalone(directory: ConfDirectory, first: string | undefined, entry: Entry): Decision {
  const text = standaloneList(entry);
  if (first === undefined) return { do: "write", file: standaloneFile, was: undefined, text };
  const network = findConfList(directory, first);
  if (network !== undefined && isStandalone(network)) return keepMain(directory, first, network, entry);
  if (first === standaloneFile)
    return wait(`${first} is there and is not from wg-cni: remove it, or give it another name`);
  if (confFiles([first, standaloneFile])[0] === standaloneFile)
    return { do: "write", file: standaloneFile, was: undefined, text };
  return wait(
    `${first} comes before ${standaloneFile}, so the runtime would use that: remove it, or install without --standalone to follow its plugins`,
  );
}

/** Decides about a configuration whose main plugin we are already. */
function keepMain(directory: ConfDirectory, file: string, network: ConfList, entry: Entry): Decision {
  if (Bun.deepEquals(network.plugins[0] as Plugin, entry)) return done(file, network);
  if (network.form === "single")
    return wait(`${file} has wg-cni with other values: remove it, and a list is written in its place`);
  const was = getText(directory, file);
  const text = isStandaloneList(was) ? standaloneList(entry) : replaceMain(was, entry);
  return { do: "write", file, was, text };
}

function findConfList(directory: ConfDirectory, file: string): ConfList | undefined {
  return attempt(
    ParseError,
    () => parseConfList(file, getText(directory, file)),
    () => undefined,
  );
}

/** Throws ParseError if the file cannot be read. */
export function getText(directory: ConfDirectory, file: string): string {
  const content = directory.get(file);
  if (content === undefined) throw new ParseError("it is not there");
  if ("problem" in content) throw new ParseError(content.problem);
  return content.text;
}

function wait(reason: string): Decision {
  return { do: "wait", reason };
}

function done(file: string, { plugins }: ConfList): Decision {
  return { do: "nothing", file, types: plugins.map(({ type }) => type) };
}
