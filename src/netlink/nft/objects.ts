// Converts tables, sets, chains and rules of nftables between values and messages. Parts of a message
// that a value cannot express become text, so that they are noticed. table.ts talks to the kernel.
import {
  dynamicSetSize,
  type NftBase,
  type NftChain,
  type NftCommand,
  type NftFamily,
  type NftHook,
  type NftRule,
  type NftSetDeclaration,
  type NftTable,
  type NftTableName,
} from "../../net/nftables.ts";
import { formatNftCommand, formatNftTableName } from "../../net/nftables-text.ts";
import {
  chainMessage,
  elementsMessage,
  hooks,
  NFPROTO_ARP,
  NFT_MSG_DELCHAIN,
  NFT_MSG_DELRULE,
  NFT_MSG_DELSET,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  NFT_SET_ANONYMOUS,
  NFT_SET_EVAL,
  NFT_SET_INTERVAL,
  NFT_SET_TIMEOUT,
  NFT_TABLE_F_DORMANT,
  ruleMessage,
  setMessage,
  TYPE_IFNAME,
  TYPE_IP6ADDR,
  TYPE_IPADDR,
} from "../../wire/nftables.ts";
import { maxElementBytes } from "../../wire/nftables-elements.ts";
import { NF_ACCEPT, NF_DROP } from "../../wire/nftables-expressions.ts";
import { NFPROTO_INET, tableMessage } from "../../wire/nftables-table.ts";
import { NLM_F_CREATE } from "../../wire/nlmsg.ts";
import type { Request } from "../socket.ts";
import { keyBytes, toSetElements } from "./elements.ts";
import { toExpressions, toNftRule } from "./statements.ts";

const NLM_F_APPEND = 0x800;
/** Elements of one message: an attribute has at most 65,535 bytes, and an interval is two elements. */
const elementsPerMessage = Math.floor(65_000 / (2 * maxElementBytes));

const chainTypes: readonly NftBase["type"][] = ["filter", "route"];

const protocols: Readonly<Record<NftFamily, number>> = { inet: NFPROTO_INET, arp: NFPROTO_ARP };

/** The beginning of every message about tables of a family. */
export function familyHeader(family: NftFamily) {
  return { nfgen_family: protocols[family] };
}

type Read<C extends { read(bytes: Uint8Array, at: number, end: number): unknown }> = ReturnType<C["read"]>;
export type TableReply = Read<typeof tableMessage>;
export type SetReply = Read<typeof setMessage>;
export type ChainReply = Read<typeof chainMessage>;
export type RuleReply = Read<typeof ruleMessage>;

/** The requests of a command; elements may take several. `setId` is unique in the transaction. */
export function commandRequests(command: NftCommand, setId: number): Request[] {
  const { table } = command;
  const header = familyHeader(table.family);
  const request = (type: number, flags: number, write: Request["write"]): Request => ({
    ...{ type, flags, describe: () => describe(command), write },
  });
  switch (command.do) {
    case "addTable":
    case "deleteTable": {
      const [type, flags] =
        command.do === "addTable" ? [NFT_MSG_NEWTABLE, NLM_F_CREATE] : [NFT_MSG_DELTABLE, 0];
      return [
        request(type, flags, (to) => tableMessage.write(to, { ...header, NFTA_TABLE_NAME: table.name })),
      ];
    }
    case "addSet":
      return [
        request(NFT_MSG_NEWSET, NLM_F_CREATE, (to) =>
          setMessage.write(to, fromSet(table, command.set, setId)),
        ),
      ];
    case "deleteSet":
      return [
        request(NFT_MSG_DELSET, 0, (to) =>
          setMessage.write(to, { ...header, NFTA_SET_TABLE: table.name, NFTA_SET_NAME: command.set }),
        ),
      ];
    case "addElements":
      return elementWrites(command).map((write) => request(NFT_MSG_NEWSETELEM, NLM_F_CREATE, write));
    case "deleteElements":
      return elementWrites(command).map((write) => request(NFT_MSG_DELSETELEM, 0, write));
    case "addChain":
      return [
        request(NFT_MSG_NEWCHAIN, NLM_F_CREATE, (to) =>
          chainMessage.write(to, fromChain(table, command.chain)),
        ),
      ];
    case "flushChain":
      // A command without a handle means all the rules.
      return [request(NFT_MSG_DELRULE, 0, (to) => ruleMessage.write(to, ruleOf(table, command.chain)))];
    case "deleteChain":
      return [
        request(NFT_MSG_DELCHAIN, 0, (to) =>
          chainMessage.write(to, fromChain(table, { name: command.chain })),
        ),
      ];
    case "addRule":
      return [
        request(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, (to) =>
          ruleMessage.write(to, {
            ...ruleOf(table, command.chain),
            NFTA_RULE_EXPRESSIONS: toExpressions(command.rule),
          }),
        ),
      ];
  }
}

/** The table of what was read; the elements of sets are still to come. */
export function toTable(
  family: NftFamily,
  reply: TableReply,
  sets: readonly SetReply[],
  chains: readonly ChainReply[],
  rules: readonly RuleReply[],
): Omit<NftTable, "sets"> & { readonly sets: readonly NftSetDeclaration[] } {
  const foreign: string[] = [];
  const known: NftSetDeclaration[] = [];
  for (const set of sets) {
    // Sets without a name belong to rules, and go with them.
    if (((set.NFTA_SET_FLAGS ?? 0) & NFT_SET_ANONYMOUS) !== 0) continue;
    const declaration = findSet(set);
    if (declaration !== undefined) known.push(declaration);
    else foreign.push(`set ${set.NFTA_SET_NAME}`);
  }
  const knownChains: NftChain[] = [];
  for (const chain of chains) {
    const found = findChain(family, chain, rules);
    if (found !== undefined) knownChains.push(found);
    else foreign.push(`chain ${chain.NFTA_CHAIN_NAME}`);
  }
  const others = (reply.NFTA_TABLE_USE ?? 0) - sets.length - chains.length;
  if (others > 0) foreign.push(`${others} ${others === 1 ? "object" : "objects"}`);
  if (((reply.NFTA_TABLE_FLAGS ?? 0) & NFT_TABLE_F_DORMANT) !== 0) foreign.push("flags dormant");
  return { family, name: reply.NFTA_TABLE_NAME ?? "", sets: known, chains: knownChains, foreign };
}

/** The types of set keys in nft(8), by number. */
const keyTypes = {
  4: TYPE_IPADDR,
  6: TYPE_IP6ADDR,
  ifname: TYPE_IFNAME,
} as const satisfies Record<NftSetDeclaration["family"], number>;

/** Undefined if it is more, or something else, than a set of addresses or of interfaces. */
function findSet(reply: SetReply): NftSetDeclaration | undefined {
  const { NFTA_SET_NAME: name, NFTA_SET_FLAGS: flags = 0, NFTA_SET_KEY_TYPE: type } = reply;
  const { NFTA_SET_EXPR: expression, NFTA_SET_DESC: description } = reply;
  const dynamic = (flags & NFT_SET_EVAL) !== 0;
  const timeoutMinutes = minutesOf(reply);
  const isPlain =
    reply.NFTA_SET_DATA_TYPE === undefined &&
    reply.NFTA_SET_EXPRESSIONS === undefined &&
    description?.NFTA_SET_DESC_SIZE === (dynamic ? dynamicSetSize : undefined) &&
    description?.NFTA_SET_DESC_CONCAT === undefined &&
    (flags & ~(dynamic ? NFT_SET_EVAL | NFT_SET_TIMEOUT : NFT_SET_INTERVAL)) === 0 &&
    (expression === undefined || expression.name === "counter");
  const family = ([4, 6, "ifname"] as const).find((key) => keyTypes[key] === type);
  if (name === undefined || !isPlain || family === undefined) return undefined;
  return {
    ...{ name, family, interval: flags === NFT_SET_INTERVAL, counter: expression !== undefined },
    ...(dynamic ? { dynamic } : {}),
    ...(timeoutMinutes === undefined ? {} : { timeoutMinutes }),
  };
}

const msPerMinute = 60_000;

/** Undefined if elements of the set stay. Another time than ours is no whole number of minutes, or another number. */
function minutesOf({ NFTA_SET_FLAGS: flags = 0, NFTA_SET_TIMEOUT: ms = 0 }: SetReply): number | undefined {
  return (flags & NFT_SET_TIMEOUT) === 0 ? undefined : Number(ms) / msPerMinute;
}

function fromSet(table: NftTableName, declaration: NftSetDeclaration, setId: number) {
  const { name, family, interval, counter, dynamic, timeoutMinutes } = declaration;
  const endless = (interval ? NFT_SET_INTERVAL : 0) | (dynamic ? NFT_SET_EVAL : 0);
  return {
    ...familyHeader(table.family),
    NFTA_SET_TABLE: table.name,
    NFTA_SET_NAME: name,
    NFTA_SET_FLAGS: endless | (timeoutMinutes === undefined ? 0 : NFT_SET_TIMEOUT),
    NFTA_SET_KEY_TYPE: keyTypes[family],
    NFTA_SET_KEY_LEN: keyBytes[family],
    ...(dynamic ? { NFTA_SET_DESC: { NFTA_SET_DESC_SIZE: dynamicSetSize } } : {}),
    ...(timeoutMinutes === undefined ? {} : { NFTA_SET_TIMEOUT: timeoutMinutes * msPerMinute }),
    NFTA_SET_ID: setId,
    NFTA_SET_EXPR: counter ? ({ name: "counter", data: {} } as const) : undefined,
  };
}

/** Undefined if it is of a type that we have none of, or bound to single devices. */
function findChain(family: NftFamily, reply: ChainReply, rules: readonly RuleReply[]): NftChain | undefined {
  const { NFTA_CHAIN_NAME: name = "", NFTA_CHAIN_HOOK: at, NFTA_CHAIN_POLICY: policy } = reply;
  const inIt = rules.filter((rule) => rule.NFTA_RULE_CHAIN === name).map(toRule);
  if (at === undefined) return { name, rules: inIt };
  const hook = hooks[family][at.NFTA_HOOK_HOOKNUM ?? -1];
  const type = chainTypes.find((known) => known === reply.NFTA_CHAIN_TYPE);
  const isBound = at.NFTA_HOOK_DEV !== undefined || at.NFTA_HOOK_DEVS !== undefined;
  if (hook === undefined || type === undefined || isBound) return undefined;
  const priority = at.NFTA_HOOK_PRIORITY ?? 0;
  const base: NftBase = { type, hook, priority, policy: policy === NF_DROP ? "drop" : "accept" };
  return { name, base, rules: inIt };
}

function fromChain(table: NftTableName, { name, base }: Omit<NftChain, "rules">) {
  const message = { ...familyHeader(table.family), NFTA_CHAIN_TABLE: table.name, NFTA_CHAIN_NAME: name };
  if (base === undefined) return message;
  return {
    ...message,
    NFTA_CHAIN_TYPE: base.type,
    NFTA_CHAIN_POLICY: base.policy === "drop" ? NF_DROP : NF_ACCEPT,
    NFTA_CHAIN_HOOK: {
      NFTA_HOOK_HOOKNUM: hookNumber(table.family, base.hook),
      NFTA_HOOK_PRIORITY: base.priority,
    },
  };
}

function hookNumber(family: NftFamily, hook: NftHook): number {
  const known: readonly NftHook[] = hooks[family];
  return known.indexOf(hook);
}

function toRule({ NFTA_RULE_EXPRESSIONS: expressions = [] }: RuleReply): NftRule {
  return toNftRule(expressions);
}

function ruleOf(table: NftTableName, chain: string) {
  return { ...familyHeader(table.family), NFTA_RULE_TABLE: table.name, NFTA_RULE_CHAIN: chain };
}

type ElementCommand = Extract<NftCommand, { readonly elements: readonly string[] }>;

/** One a message. */
function elementWrites({ table, set, elements }: ElementCommand): Request["write"][] {
  const writes: Request["write"][] = [];
  for (let at = 0; at < elements.length; at += elementsPerMessage)
    writes.push((to) =>
      elementsMessage.write(to, {
        ...familyHeader(table.family),
        NFTA_SET_ELEM_LIST_TABLE: table.name,
        NFTA_SET_ELEM_LIST_SET: set.name,
        NFTA_SET_ELEM_LIST_ELEMENTS: elements
          .slice(at, at + elementsPerMessage)
          .flatMap((element) => toSetElements(set, element)),
      }),
    );
  return writes;
}

/** Describes a command as nft(8) has it, without the elements, of which there may be thousands. */
function describe(command: NftCommand): string {
  if (!("elements" in command)) return formatNftCommand(command);
  const { table, set, elements } = command;
  const verb = command.do === "addElements" ? "add" : "delete";
  const what = elements.length === 1 ? `element ${elements[0]}` : `${elements.length} elements`;
  return `${verb} ${what} of set ${formatNftTableName(table)} ${set.name}`;
}
