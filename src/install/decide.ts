// What has to happen in a folder of network configurations so that pods of the
// network in use go through wg-cni. From the texts that are there to one
// decision; the next look decides anew. Taking it back is remove.ts. Pure.
//
//   file in use              becomes
//   10-x.conflist            itself with our entry, by rename
//   10-x.conf, 10-x.json     10-x.conflist; the original is put aside, hidden, beside it
//   none, half-written, …    nothing: wait for whoever writes it
import { ParseError } from "../net/error.ts";
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

/** A file's text, a character a byte, or why it cannot be read. */
export type Content = { readonly text: string } | { readonly problem: string };

/** All network files of the folder, and the originals that were put aside. */
export type ConfDirectory = ReadonlyMap<string, Content>;

export interface Wanted {
  /** Absent: an entry that is there stays as it is, and else it has no keys of its own. With "ipam" we are the main plugin. */
  readonly entry?: Entry;
}

export type Decision =
  /** All is as it should be; `file` is in use and calls `types` in turn. */
  | { readonly do: "nothing"; readonly file: string; readonly types: readonly string[] }
  /** Nothing can be done yet. `reason` is a sentence. */
  | { readonly do: "wait"; readonly reason: string }
  | { readonly do: "write"; readonly file: string; readonly was: string | undefined; readonly text: string }
  /** `list`, which has `listWas`, is written with `text`, then `single`, which has `was`, is put aside. */
  | {
      readonly do: "convert";
      readonly single: string;
      readonly was: string;
      readonly list: string;
      readonly listWas: string | undefined;
      readonly text: string;
    };

/** The list that we write where we are the main plugin. */
export const standaloneFile = "10-wg-cni.conflist";

/** Where the original of a single plugin waits: no runtime takes the extension. */
export function backupName(single: string): string {
  return `.${single}.before-wg-cni`;
}

/** The single plugin that was put aside under a name, or undefined where the name is no such. */
export function findSingle(backup: string): string | undefined {
  return /^\.(.+\.(?:conf|json))\.before-wg-cni$/.exec(backup)?.[1];
}

/** The list that stands for a single plugin. */
export function listName(single: string): string {
  return single.replace(/\.(conf|json)$/, ".conflist");
}

/** `hasPlugin`: whether the folder of plugins has one of a type. */
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
      `its plugin ${main.type} is not in the folder of plugins: is that the one that the runtime takes them from?`,
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

/** The single plugin that a list of ours stands for, where its owner has written it anew: a `.json` comes behind its list. */
function findRewritten(directory: ConfDirectory, list: string): string | undefined {
  if (!isOurList(directory, list)) return undefined;
  return singlesOf(list).find((single) => directory.has(single));
}

/** The names of single plugins that a list may have been made of. */
export function singlesOf(list: string): string[] {
  return ["conf", "json"].map((extension) => list.replace(/conflist$/, extension));
}

/** True where a list is what we make of a single plugin. */
export function isOurList(directory: ConfDirectory, list: string): boolean {
  const content = directory.get(list);
  if (!list.endsWith(".conflist") || content === undefined || "problem" in content) return false;
  return isTrue(() => isListOfAnySingle(content.text));
}

/** True where a list is what we make of this single plugin. */
export function isListOf(directory: ConfDirectory, list: string, single: string): boolean {
  const [content, origin] = [directory.get(list), directory.get(single)];
  if (content === undefined || origin === undefined || "problem" in content || "problem" in origin)
    return false;
  return isTrue(() => isListOfSingle(content.text, origin.text));
}

/** What cannot be read is not what we make. */
function isTrue(check: () => boolean): boolean {
  try {
    return check();
  } catch (error) {
    if (error instanceof ParseError) return false;
    throw error;
  }
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

/** A network whose main plugin we are already. */
function keepMain(directory: ConfDirectory, file: string, network: ConfList, entry: Entry): Decision {
  if (Bun.deepEquals(network.plugins[0] as Plugin, entry)) return done(file, network);
  if (network.form === "single")
    return wait(`${file} has wg-cni with other values: remove it, and a list is written in its place`);
  const was = getText(directory, file);
  const text = isStandaloneList(was) ? standaloneList(entry) : replaceMain(was, entry);
  return { do: "write", file, was, text };
}

function findConfList(directory: ConfDirectory, file: string): ConfList | undefined {
  try {
    return parseConfList(file, getText(directory, file));
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

/** Throws ParseError where the file cannot be read. */
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
