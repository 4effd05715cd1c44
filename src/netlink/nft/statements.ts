// Converts between statements of rules and the kernel's expressions, by a table with a codec for each
// kind. A new kind needs a row here, and a type in net/nftables.ts.
import type { Family } from "../../net/ip.ts";
import type { NftRule, NftStatement } from "../../net/nftables.ts";
import { type Expression, NF_ACCEPT, NF_DROP, NFT_GOTO } from "../../wire/nftables-expressions.ts";
import { decide, rejectUnreachable } from "./expressions.ts";
import { type Codecs, dataOf, type Kind, type StatementCodec } from "./statement-codec.ts";
import { addressStatements, familyAfter } from "./statements-address.ts";
import { headerStatements } from "./statements-header.ts";
import { interfaceStatements } from "./statements-interface.ts";
import { connectionStatements, markStatements } from "./statements-mark.ts";
import { routeStatements } from "./statements-route.ts";
import { transportStatements } from "./statements-transport.ts";

const verdictStatements: Codecs<"verdict" | "reject" | "goto"> = {
  verdict: {
    encode: ({ verdict }) => [decide({ NFTA_VERDICT_CODE: verdict === "accept" ? NF_ACCEPT : NF_DROP })],
    match: ([first]) => {
      const data = dataOf(first, "immediate");
      if (data === undefined) return undefined;
      const isAccept = data.NFTA_IMMEDIATE_DATA?.NFTA_DATA_VERDICT?.NFTA_VERDICT_CODE === NF_ACCEPT;
      return { kind: "verdict", verdict: isAccept ? "accept" : "drop" };
    },
  },
  reject: {
    encode: () => [rejectUnreachable],
    match: ([first]) => (first?.name === "reject" ? { kind: "reject" } : undefined),
  },
  goto: {
    encode: ({ chain }) => [decide({ NFTA_VERDICT_CODE: NFT_GOTO, NFTA_VERDICT_CHAIN: chain })],
    match: ([first]) => {
      const chain = dataOf(first, "immediate")?.NFTA_IMMEDIATE_DATA?.NFTA_DATA_VERDICT?.NFTA_VERDICT_CHAIN;
      return chain === undefined ? undefined : { kind: "goto", chain };
    },
  },
};

const codecs: Codecs<Kind> = {
  ...interfaceStatements,
  ...addressStatements,
  ...headerStatements,
  ...transportStatements,
  ...routeStatements,
  ...markStatements,
  ...connectionStatements,
  ...verdictStatements,
};

/** The expressions of a rule. Throws for a statement that can only be read. */
export function toExpressions(rule: NftRule): Expression[] {
  let known: Family | undefined;
  return rule.flatMap((statement) => {
    const expressions = encodeStatement(statement, known);
    known = familyAfter(statement, known);
    return expressions;
  });
}

/** The rule that the expressions are; each that belongs to no statement of ours is an "unknown" one. */
export function toNftRule(expressions: readonly Expression[]): NftRule {
  const rule: NftStatement[] = [];
  let known: Family | undefined;
  for (let at = 0; at < expressions.length; ) {
    const found = readStatement(expressions.slice(at), known);
    rule.push(found?.statement ?? { kind: "unknown", expression: nameOf(expressions[at] as Expression) });
    if (found !== undefined) known = familyAfter(found.statement, known);
    at += found?.length ?? 1;
  }
  return rule;
}

function encodeStatement(statement: NftStatement, known: Family | undefined): readonly Expression[] {
  if (statement.kind === "unknown")
    throw new Error(`An nftables expression "${statement.expression}" can only be read.`);
  const codec = codecs[statement.kind] as StatementCodec<NftStatement>;
  return codec.encode(statement, known);
}

function readStatement(
  expressions: readonly Expression[],
  known: Family | undefined,
): { readonly statement: NftStatement; readonly length: number } | undefined {
  for (const { match } of Object.values(codecs)) {
    const statement = match(expressions, known);
    if (statement === undefined) continue;
    const written = encodeStatement(statement, known);
    if (written.every((expression, i) => isSame(expression, expressions[i])))
      return { statement, length: written.length };
  }
  return undefined;
}

/**
 * True for two expressions that do the same. The kernel also sends attributes that are 0, which is the
 * default of all of them; attributes of later kernels are ignored.
 */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b || (isDefault(a) && isDefault(b))) return true;
  if (a instanceof Uint8Array || b instanceof Uint8Array)
    return a instanceof Uint8Array && b instanceof Uint8Array && isSameBytes(a, b);
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return [...Object.keys(left), ...Object.keys(right)].every(
    (key) => key === "unknown" || isSame(left[key], right[key]),
  );
}

function isDefault(value: unknown): boolean {
  return value === 0 || value === undefined;
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function nameOf(expression: Expression): string {
  return expression.name === "unknown" ? expression.kernelName : expression.name;
}
