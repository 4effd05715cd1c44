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
  isOwn,
  isStandalone,
  type Network,
  networkFiles,
  ownType,
  type Plugin,
  parseNetwork,
  refuseUnknownVersion,
} from "./conflist.ts";

/** A file's text, a character a byte, or why it cannot be read. */
export type Content = { readonly text: string } | { readonly problem: string };

/** All network files of the folder, and the originals that were put aside. */
export type Folder = ReadonlyMap<string, Content>;

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
export function asideName(single: string): string {
  return `.${single}.before-wg-cni`;
}

/** The single plugin that was put aside under a name, or undefined where the name is no such. */
export function findSingle(aside: string): string | undefined {
  return /^\.(.+\.(?:conf|json))\.before-wg-cni$/.exec(aside)?.[1];
}

/** The list that stands for a single plugin. */
export function listName(single: string): string {
  return single.replace(/\.(conf|json)$/, ".conflist");
}

/** `hasPlugin`: whether the folder of plugins has one of a type. */
export function decide(folder: Folder, { entry }: Wanted, hasPlugin: (type: string) => boolean): Decision {
  const first = networkFiles([...folder.keys()])[0];
  if (entry !== undefined && makesInterfaces(entry)) return decideStandalone(folder, first, entry);
  if (first === undefined) return wait("There is no network configuration yet");
  const file = findRewritten(folder, first) ?? first;
  try {
    return decideChained(folder, file, entry, hasPlugin);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return wait(`${file} cannot be used: ${error.message}`);
  }
}

function decideChained(
  folder: Folder,
  file: string,
  entry: Entry | undefined,
  hasPlugin: (type: string) => boolean,
): Decision {
  const text = getText(folder, file);
  const network = parseNetwork(file, text);
  if (isStandalone(network)) return done(file, network);
  refuseUnknownVersion(text);
  const main = network.plugins.find((plugin) => !isOwn(plugin));
  if (main === undefined)
    throw new ParseError(`it has only ${ownType}, and no "ipam" for it: nothing makes the interfaces`);
  if (!hasPlugin(main.type))
    throw new ParseError(
      `its plugin ${main.type} is not in the folder of plugins: is that the one that the runtime takes them from?`,
    );
  if (network.form === "single") return convert(folder, file, text, entry);
  const chained = chain(text, network, entry);
  if (chained === text) return done(file, network);
  return { do: "write", file, was: text, text: chained };
}

function convert(folder: Folder, single: string, was: string, entry: Entry | undefined): Decision {
  const list = listName(single);
  const text = listOfSingle(was, entry ?? plainEntry);
  if (folder.has(list) && !isOurList(folder, list))
    throw new ParseError(
      `it would have to become ${list}, which is there already and not from wg-cni: remove one of the two`,
    );
  const before = folder.get(list);
  const listWas = before !== undefined && "text" in before ? before.text : undefined;
  return { do: "convert", single, was, list, listWas, text };
}

/** The single plugin that a list of ours stands for, where its owner has written it anew: a `.json` comes behind its list. */
function findRewritten(folder: Folder, list: string): string | undefined {
  if (!isOurList(folder, list)) return undefined;
  return singlesOf(list).find((single) => folder.has(single));
}

/** The names of single plugins that a list may have been made of. */
export function singlesOf(list: string): string[] {
  return ["conf", "json"].map((extension) => list.replace(/conflist$/, extension));
}

/** True where a list is what we make of a single plugin. */
export function isOurList(folder: Folder, list: string): boolean {
  const content = folder.get(list);
  if (!list.endsWith(".conflist") || content === undefined || "problem" in content) return false;
  return isTrue(() => isListOfAnySingle(content.text));
}

/** True where a list is what we make of this single plugin. */
export function isListOf(folder: Folder, list: string, single: string): boolean {
  const [content, origin] = [folder.get(list), folder.get(single)];
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

function decideStandalone(folder: Folder, first: string | undefined, entry: Entry): Decision {
  const text = standaloneList(entry);
  if (first === undefined) return { do: "write", file: standaloneFile, was: undefined, text };
  const network = findNetwork(folder, first);
  if (network !== undefined && isStandalone(network)) return keepMain(folder, first, network, entry);
  if (first === standaloneFile)
    return wait(`${first} is there and is not from wg-cni: remove it, or give it another name`);
  if (networkFiles([first, standaloneFile])[0] === standaloneFile)
    return { do: "write", file: standaloneFile, was: undefined, text };
  return wait(
    `${first} comes before ${standaloneFile}, so the runtime would use that: remove it, or install without --standalone to follow its plugins`,
  );
}

/** A network whose main plugin we are already. */
function keepMain(folder: Folder, file: string, network: Network, entry: Entry): Decision {
  if (Bun.deepEquals(network.plugins[0] as Plugin, entry)) return done(file, network);
  if (network.form === "single")
    return wait(`${file} has wg-cni with other values: remove it, and a list is written in its place`);
  const was = getText(folder, file);
  const text = isStandaloneList(was) ? standaloneList(entry) : replaceMain(was, entry);
  return { do: "write", file, was, text };
}

function findNetwork(folder: Folder, file: string): Network | undefined {
  try {
    return parseNetwork(file, getText(folder, file));
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

/** Throws ParseError where the file cannot be read. */
export function getText(folder: Folder, file: string): string {
  const content = folder.get(file);
  if (content === undefined) throw new ParseError("it is not there");
  if ("problem" in content) throw new ParseError(content.problem);
  return content.text;
}

function wait(reason: string): Decision {
  return { do: "wait", reason };
}

function done(file: string, { plugins }: Network): Decision {
  return { do: "nothing", file, types: plugins.map(({ type }) => type) };
}
