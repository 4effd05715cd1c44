// `planRemoval` plans the steps after which no network configuration names wg-cni and the
// originals are back. Pure.
//
//   a list with other plugins    loses our entry: the original bytes, if nothing else changed it
//   a list made of 10-x.conf     is removed; the backup gets its name back, unless its owner wrote the file again
//   a list that we wrote         is removed
//   a list with us as the main   is renamed, because it was written by hand
//   plugin
import { ParseError } from "../net/error.ts";
import { isStandaloneList, unchain } from "./chain.ts";
import { confFiles, isOwn, isStandalone, ownType, parseConfList } from "./conflist.ts";
import {
  type ConfDirectory,
  type Content,
  findSingle,
  getText,
  isListOf,
  isOurList,
  listName,
  singlesOf,
} from "./decide.ts";

export type Removal =
  | { readonly do: "write"; readonly file: string; readonly was: string; readonly text: string }
  /** `backup` gets the name `single` again; then `list`, which contains `was`, is removed. */
  | {
      readonly do: "restore";
      readonly backup: string;
      readonly single: string;
      readonly list: string;
      readonly was: string;
    }
  | { readonly do: "remove"; readonly file: string; readonly was: string }
  /** The backup is not needed any more. */
  | { readonly do: "forget"; readonly backup: string }
  | { readonly do: "disable"; readonly file: string; readonly to: string };

export interface RemovalPlan {
  readonly steps: readonly Removal[];
  /** The sentences are about files that may name us and are left as they are. */
  readonly problems: readonly string[];
}

export function planRemoval(directory: ConfDirectory): RemovalPlan {
  const backups = [...directory.keys()].filter((name) => findSingle(name) !== undefined);
  const originals = backups.map((backup) => planRestore(directory, backup));
  const handled = new Set(originals.flatMap((step) => (step.do === "restore" ? [step.list] : [])));
  const steps: Removal[] = [];
  const problems: string[] = [];
  for (const file of confFiles([...directory.keys()])) {
    if (handled.has(file)) continue;
    try {
      steps.push(...removeFrom(directory, file));
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      if (mayNameUs(directory.get(file)))
        problems.push(`${file} may name wg-cni and cannot be used: ${error.message}.`);
    }
  }
  // Backups are removed last: they show which lists we made, also to a second attempt.
  return { steps: [...steps, ...originals], problems };
}

/** Plans to restore a backup if its list is still as we made it and its name is free. */
function planRestore(directory: ConfDirectory, backup: string): Removal {
  const single = findSingle(backup) as string;
  const list = listName(single);
  const isUnchanged = isListOf(directory, list, backup);
  if (directory.has(single) || !isUnchanged) return { do: "forget", backup: backup };
  return { do: "restore", backup: backup, single, list, was: getText(directory, list) };
}

function removeFrom(directory: ConfDirectory, file: string): Removal[] {
  const was = getText(directory, file);
  const network = parseConfList(file, was);
  const { form, plugins } = network;
  if (!plugins.some(isOwn)) return [];
  if (form === "list" && (isStandaloneList(was) || isSuperseded(directory, file)))
    return [{ do: "remove", file, was }];
  if (isStandalone(network) || plugins.every(isOwn))
    return [{ do: "disable", file, to: `${file}.disabled-by-wg-cni` }];
  return [{ do: "write", file, was, text: unchain(was, plugins) }];
}

/** True for a list that we made from a single plugin whose file exists again. */
function isSuperseded(directory: ConfDirectory, list: string): boolean {
  return isOurList(directory, list) && singlesOf(list).some((single) => directory.has(single));
}

function mayNameUs(content: Content | undefined): boolean {
  return content === undefined || "problem" in content || content.text.includes(ownType);
}
