// A table of nftables as the kernel lists it: the table, its sets, chains, rules and elements.
import type { NftSetDeclaration } from "../../../src/net/nftables.ts";
import { eachElement } from "../../../src/netlink/nft/elements.ts";
import { markBits } from "../../../src/netlink/nft/marks.ts";
import {
  type ChainReply,
  type RuleReply,
  type SetReply,
  type TableReply,
  toTable,
} from "../../../src/netlink/nft/objects.ts";
import {
  chainMessage,
  elementsMessage,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  ruleMessage,
  setMessage,
} from "../../../src/wire/nftables.ts";
import type { SetElement } from "../../../src/wire/nftables-elements.ts";
import { tableMessage } from "../../../src/wire/nftables-table.ts";
import type { Target } from "../target.ts";
import { readMessages } from "./netlink.ts";

export const nftables: Target = {
  name: "nftables",
  form: "netlink",
  refusals: ["DecodeError"],
  run(input) {
    let table: TableReply | undefined;
    const sets: SetReply[] = [];
    const chains: ChainReply[] = [];
    const rules: RuleReply[] = [];
    const elements: SetElement[] = [];
    readMessages(input, (type, bytes, at, end) => {
      if (type === NFT_MSG_NEWSET) sets.push(setMessage.read(bytes, at, end, "skip"));
      else if (type === NFT_MSG_NEWCHAIN) chains.push(chainMessage.read(bytes, at, end, "skip"));
      else if (type === NFT_MSG_NEWRULE) rules.push(ruleMessage.read(bytes, at, end, "skip"));
      else if (type === NFT_MSG_NEWSETELEM)
        elements.push(...(elementsMessage.read(bytes, at, end).NFTA_SET_ELEM_LIST_ELEMENTS ?? []));
      else table = tableMessage.read(bytes, at, end, "skip");
    });
    const found = table === undefined ? undefined : toTable("inet", table, sets, chains, rules);
    const shown = (found?.sets ?? []).map((set) => show(set, elements));
    return [found, shown, rules.map(({ NFTA_RULE_EXPRESSIONS }) => markBits(NFTA_RULE_EXPRESSIONS ?? []))];
  },
};

function show(set: NftSetDeclaration, elements: readonly SetElement[]): string[] {
  const shown: string[] = [];
  eachElement(set, elements, (element) => shown.push(element));
  return shown;
}
