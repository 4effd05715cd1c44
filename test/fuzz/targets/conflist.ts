// Network configurations of other programs, into which our entry is put and from which it is taken.
import {
  chain,
  isListOfAnySingle,
  isStandaloneList,
  listOfSingle,
  unchain,
} from "../../../src/install/chain.ts";
import { isOwn, isStandalone, parseConfList, requireKnownVersion } from "../../../src/install/conflist.ts";
import { plainEntry } from "../../../src/plan/settings/entry.ts";
import { hold, type Target } from "../target.ts";

export const conflist: Target = {
  name: "conflist",
  form: "json",
  refusals: ["ParseError"],
  run(input) {
    const text = Buffer.from(input.buffer, input.byteOffset, input.length).toString("latin1");
    return isSingle(text) ? useSingle(text) : useList(text);
  },
};

function isSingle(text: string): boolean {
  return !text.includes('"plugins"');
}

function useSingle(text: string): unknown {
  const { plugins } = parseConfList("10-x.conf", text);
  requireKnownVersion(text);
  const list = listOfSingle(text, plainEntry);
  const made = parseConfList("10-x.conflist", list);
  hold("a list of a single plugin has it and ours", made.plugins.length === 2 && isOwn(made.plugins[1]!));
  return [plugins, isListOfAnySingle(list)];
}

function useList(text: string): unknown {
  const list = parseConfList("10-x.conflist", text);
  requireKnownVersion(text);
  const others = list.plugins.filter((plugin) => !isOwn(plugin));
  const shown = [list.plugins.length, isStandalone(list), isStandaloneList(text), isListOfAnySingle(text)];
  if (others.length === 0) return shown;
  const chained = chain(text, list, plainEntry);
  const read = parseConfList("10-x.conflist", chained);
  hold("our entry is there once", read.plugins.filter(isOwn).length === 1);
  const removed = unchain(chained, read.plugins);
  hold(
    "the other plugins stay as they are",
    Bun.deepEquals(parseConfList("10-x.conflist", removed).plugins, others),
  );
  hold("chaining again changes nothing", chain(chained, read, plainEntry) === chained);
  hold(
    "a list without our entry is restored to the byte",
    others.length < list.plugins.length || removed === text,
  );
  return shown;
}
