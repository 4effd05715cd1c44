// nftables values as nft(8) reads and lists them: a whole table for `nft -f`, a
// command a line, a rule. The text of a rule also serves to compare two rules:
// different rules have different texts.
import { type Family, familyBits, familyOf } from "./ip.ts";
import {
  dynamicSetSize,
  type NftBase,
  type NftChain,
  type NftCommand,
  type NftRule,
  type NftSetDeclaration,
  type NftStatement,
  type NftTable,
  type NftTableName,
} from "./nftables.ts";
import type { Mark } from "./objects.ts";

const priorities: Readonly<Record<number, string>> = { [-300]: "raw", [-150]: "mangle", 0: "filter" };

/** The table as a file for `nft -f`, and as `nft list` shows it but for blank lines and line breaks. */
export function formatNftTable(table: NftTable): string {
  const lines = [`table ${formatNftTableName(table)} {`];
  for (const set of table.sets) {
    lines.push(`\tset ${set.name} {`, ...setLines(set).map((line) => `\t\t${line}`));
    if (set.elements.size > 0) {
      const elements = [...set.elements].map((element) => formatElement(set, element));
      lines.push(`\t\telements = { ${elements.join(",\n\t\t\t     ")} }`);
    }
    lines.push("\t}");
  }
  for (const chain of table.chains) lines.push(...chainLines(chain).map((line) => `\t${line}`));
  return `${lines.join("\n")}\n}\n`;
}

export function formatNftTableName({ family, name }: NftTableName): string {
  return `${family} ${name}`;
}

/** The command as a line of a file for `nft -f`. */
export function formatNftCommand(command: NftCommand): string {
  switch (command.do) {
    case "addTable":
    case "deleteTable":
      return `${verb(command)} table ${formatNftTableName(command.table)}`;
    case "addSet":
      return `add set ${formatNftTableName(command.table)} ${command.set.name} { ${setLines(command.set).join("; ")}; }`;
    case "deleteSet":
      return `delete set ${formatNftTableName(command.table)} ${command.set}`;
    case "addElements":
    case "deleteElements": {
      const elements = command.elements.map((element) => formatElement(command.set, element));
      return `${verb(command)} element ${formatNftTableName(command.table)} ${command.set.name} { ${elements.join(", ")} }`;
    }
    case "addChain": {
      const { name, base } = command.chain;
      return `add chain ${formatNftTableName(command.table)} ${name}${base === undefined ? "" : ` { ${formatBase(base)} }`}`;
    }
    case "flushChain":
      return `flush chain ${formatNftTableName(command.table)} ${command.chain}`;
    case "deleteChain":
      return `delete chain ${formatNftTableName(command.table)} ${command.chain}`;
    case "addRule":
      return `add rule ${formatNftTableName(command.table)} ${command.chain} ${formatNftRule(command.rule)}`;
  }
}

export function formatNftRule(rule: NftRule): string {
  return rule.map(formatStatement).join(" ");
}

function verb({ do: what }: NftCommand): string {
  return what.startsWith("add") ? "add" : "delete";
}

function setLines(set: NftSetDeclaration): string[] {
  const lines = [`type ${set.family === "ifname" ? set.family : `ipv${set.family}_addr`}`];
  if (set.interval) lines.push("flags interval");
  if (set.dynamic) lines.push(`size ${dynamicSetSize}`, "flags dynamic");
  if (set.timeoutMinutes !== undefined) lines.push(`timeout ${set.timeoutMinutes}m`);
  if (set.counter) lines.push("counter");
  return lines;
}

function chainLines({ name, base, rules }: NftChain): string[] {
  const lines = base === undefined ? [] : [formatBase(base)];
  lines.push(...rules.map(formatNftRule));
  return [`chain ${name} {`, ...lines.map((line) => `\t${line}`), "}"];
}

function formatBase({ type, hook, priority, policy }: NftBase): string {
  return `type ${type} hook ${hook} priority ${priorities[priority] ?? priority}; policy ${policy};`;
}

/** nft leaves out the length of a prefix that is one address. */
function formatElement({ family }: NftSetDeclaration, element: string): string {
  if (family === "ifname") return `"${element}"`;
  const whole = `/${familyBits(family)}`;
  return element.endsWith(whole) ? element.slice(0, -whole.length) : element;
}

function formatStatement(statement: NftStatement): string {
  switch (statement.kind) {
    case "loopback":
      return `${statement.direction} "lo"`;
    case "interface":
      return `${statement.direction}name "${statement.name}"`;
    case "fromGroup":
      return `iifgroup ${statement.group}`;
    case "inSet":
      return `${formatFamily(statement.family)} ${statement.field} ${statement.not ? "!= " : ""}@${statement.set}`;
    case "countInterface":
      return `update @${statement.set} { iifname }`;
    case "countAddress":
      return `update @${statement.set} { ${formatFamily(statement.family)} ${statement.field} }`;
    case "senderInSet":
      return `arp saddr ip @${statement.set}`;
    case "address":
      return `${formatFamily(familyOf(statement.ip))} ${statement.field} ${statement.ip}`;
    case "port":
      return `${statement.protocol} ${statement.field} ${statement.port}`;
    case "wireguardMessage":
      return "@th,64,32 & 0xf8ffffff == 0x0";
    case "local":
      return `fib ${statement.field} type ${statement.not ? "!= " : ""}local`;
    case "routeType":
      return `fib daddr type ${statement.type}`;
    case "routedBack":
      return `fib saddr ${statement.marked ? ". mark " : ""}. iif oif ${statement.not ? "missing" : "exists"}`;
    case "routedBackBy":
      return `fib saddr oifname "${statement.device}"`;
    case "routedBy":
      return `fib daddr . mark oifname "${statement.device}"`;
    case "routed":
      return "fib daddr . mark oif exists";
    case "icmp":
      return `${statement.family === 4 ? "icmp" : "icmpv6"} type ${statement.type}`;
    case "ipOptions":
      return "ip hdrlength != 5";
    case "routingHeader":
      return "exthdr rt exists";
    case "hasMark":
      return `meta mark ${formatHasMark(statement.mark)}`;
    case "setMark":
      return `meta mark set meta mark ${formatSetMark(statement.mark)}`;
    case "hasConnectionMark":
      return `ct mark ${formatHasMark(statement.mark)}`;
    case "setConnectionMark":
      return `ct mark set ct mark ${formatSetMark(statement.mark)}`;
    case "direction":
      return `ct direction ${statement.of}`;
    case "translated":
      return `ct status ${statement.of === "either" ? "snat,dnat" : "dnat"}`;
    case "connectionSource":
      return `ct ${statement.of} ${formatFamily(statement.family)} saddr @${statement.set}`;
    case "reject":
      return "reject with icmpx host-unreachable";
    case "tcpSyn":
      return "tcp flags syn";
    case "clampMss":
      return "tcp option maxseg size set rt mtu";
    case "verdict":
      return statement.verdict;
    case "goto":
      return `goto ${statement.chain}`;
    case "unknown":
      return `(${statement.expression})`;
  }
}

function formatFamily(family: Family): string {
  return family === 4 ? "ip" : "ip6";
}

function formatHasMark({ mark, mask }: Mark): string {
  return `& ${hex(mask)} == ${hex(mark)}`;
}

/** Bits to be set stand only in the second operand, as nft lists them. */
function formatSetMark({ mark, mask }: Mark): string {
  const kept = (~mask | mark) >>> 0;
  return kept === 0xffffffff ? `| ${hex(mark)}` : `& ${hex(kept)} | ${hex(mark)}`;
}

function hex(mark: number): string {
  return `0x${mark.toString(16).padStart(8, "0")}`;
}
