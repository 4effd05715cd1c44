// Tables of nftables in one network namespace, read as plain values
// (net/nftables.ts) and changed in transactions. plan/firewall/ decides their content.
import { Errno } from "../../linux/errno.ts";
import type { NftCommand, NftCounter, NftTable, NftTableName } from "../../net/nftables.ts";
import { diffNftTables, isSameNftTable, splitTransactions, withAdditions } from "../../net/nftables-diff.ts";
import { formatNftTableName } from "../../net/nftables-text.ts";
import {
  chainMessage,
  generationMessage,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETGEN,
  NFT_MSG_GETRULE,
  NFT_MSG_GETSET,
  ruleMessage,
  setMessage,
} from "../../wire/nftables.ts";
import { NFT_MSG_GETTABLE, tableMessage } from "../../wire/nftables-table.ts";
import { NetlinkError } from "../error.ts";
import { NETLINK_NETFILTER, NetlinkSocket, type Request } from "../socket.ts";
import { eachElement } from "./elements.ts";
import { commandRequests, familyHeader, type TableReply, toTable } from "./objects.ts";
import { SetReader } from "./set-reader.ts";
import { NftTransactions } from "./transaction.ts";

/** The kernel's error if nftables has changed since the generation that a transaction names. */
const ERESTART = 85;
/** Some programs change their tables many times a second, and every change makes us read again. */
const maxAttempts = 30;

/** Something that was so while nftables, whosever tables, was at this generation. */
interface Moment<Value> {
  readonly value: Value;
  readonly generation: number;
}

/**
 * Owns two netlink sockets. Everything throws NetlinkError, SysError and
 * DecodeError; after the last two the conversation is lost: open another.
 */
export class Nft implements Disposable {
  #writes = 0;
  /** The last state of each table: the kernel takes seconds to list 100,000 elements, and mostly nothing has changed. */
  readonly #last = new Map<string, Moment<NftTable | undefined>>();
  readonly #sets: SetReader;

  private constructor(
    private readonly socket: NetlinkSocket,
    private readonly transactions: NftTransactions,
  ) {
    this.#sets = new SetReader(socket);
  }

  /** Opens the sockets in the namespace at `netns` (default: this thread's), where they stay. Throws SysError. */
  static open(netns?: string): Nft {
    const socket = NetlinkSocket.open(NETLINK_NETFILTER, netns);
    try {
      return new Nft(socket, NftTransactions.open(netns));
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
  }

  /** The commands so far that have changed something; refused ones are not counted. */
  get writes(): number {
    return this.#writes;
  }

  /** The port by which the kernel's events name changes from here; undefined before the first change. */
  get port(): number | undefined {
    return this.transactions.port;
  }

  /** The table as it is at one moment; undefined if there is none. */
  find(table: NftTableName): NftTable | undefined {
    return this.#observe(table).value;
  }

  /** Notes that a table that was found has the same content as `wanted`, and is returned as that from now on. */
  identify(found: NftTable, wanted: NftTable): void {
    const name = formatNftTableName(wanted);
    const last = this.#last.get(name);
    if (last?.value === found) this.#last.set(name, { ...last, value: wanted });
  }

  /** Reads the counts of the elements of each counting set that is wanted; empty if there is no such table. */
  counters(
    table: NftTableName,
    isWanted: (set: string) => boolean = () => true,
  ): Map<string, ReadonlyMap<string, NftCounter>> {
    return this.#atOneMoment(table, () => {
      const counters = new Map<string, ReadonlyMap<string, NftCounter>>();
      for (const set of this.#findDeclared(table)?.sets ?? [])
        if (set.counter && isWanted(set.name)) counters.set(set.name, this.#sets.counters(table, set));
      return counters;
    }).value;
  }

  /** The kernel's number of a table, which one that is made anew does not have; undefined if there is none. */
  handle(table: NftTableName): string | undefined {
    const found = this.#findTable(table);
    return found === undefined ? undefined : String(found.NFTA_TABLE_HANDLE ?? 0);
  }

  /** Carries out the commands in one transaction: all of them, or none if one is refused. */
  apply(commands: readonly NftCommand[]): void {
    const refusal = this.#transact(commands);
    if (refusal !== undefined) throw refusal;
  }

  /**
   * Carries out the commands that make `wanted` of a table that was `base` (undefined if there was none) when they were
   * planned: in one transaction, or in two if elements have to be there before rules (splitTransactions). Throws
   * NetlinkError: ESTALE if the table is another by now; new elements may be there then, and no new rule.
   */
  change(wanted: NftTable, base: NftTable | undefined, commands: readonly NftCommand[]): void {
    const [first = [], second] = splitTransactions(commands);
    if (second === undefined) {
      this.#changeAtOnce(wanted, base, first);
      return;
    }
    const { family, name } = wanted;
    const between = withAdditions(base ?? { family, name, sets: [], chains: [], foreign: [] }, first);
    this.#changeAtOnce(between, base, first);
    this.#changeAtOnce(wanted, between, second);
  }

  #changeAtOnce(wanted: NftTable, base: NftTable | undefined, commands: readonly NftCommand[]): void {
    const request = `change table ${formatNftTableName(wanted)}`;
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const { value, generation } = this.#observe(wanted);
      if (value !== base && !isSameNftTable(value, base))
        throw new NetlinkError(request, Errno.ESTALE, "another program changed it after this was planned");
      const refusal = this.#transact(commands, generation);
      if (refusal === undefined) {
        this.#advance(generation);
        this.#last.set(formatNftTableName(wanted), { value: wanted, generation: next(generation) });
        return;
      }
      // Another program changed a table, perhaps not this one: the next attempt sees it.
      if (refusal.errno !== ERESTART) throw refusal;
    }
    throw busy(request);
  }

  /** Plans and carries out at once what makes the table `wanted`; returns the commands, none if it was that. */
  sync(wanted: NftTable): readonly NftCommand[] {
    for (let attempt = 1; ; attempt++) {
      const base = this.find(wanted);
      const commands = diffNftTables(wanted, base);
      if (commands.length === 0) return commands;
      try {
        this.change(wanted, base, commands);
        return commands;
      } catch (error) {
        const isStale = error instanceof NetlinkError && error.errno === Errno.ESTALE;
        if (!isStale || attempt === maxAttempts) throw error;
      }
    }
  }

  /** False if there is no such table. */
  delete({ family, name }: NftTableName): boolean {
    const refusal = this.#transact([{ table: { family, name }, do: "deleteTable" }]);
    if (refusal === undefined) return true;
    if (refusal.errno === Errno.ENOENT) return false;
    throw refusal;
  }

  [Symbol.dispose](): void {
    this.transactions[Symbol.dispose]();
    this.socket[Symbol.dispose]();
  }

  #transact(commands: readonly NftCommand[], generation?: number): NetlinkError | undefined {
    if (commands.length === 0) return undefined;
    // Any number will do that no other set of the transaction has.
    const requests = commands.flatMap((command, i) => commandRequests(command, i + 1));
    const refusal = this.transactions.transact(requests, generation);
    if (refusal === undefined) this.#writes += commands.length;
    return refusal;
  }

  /** Advances the known generation: no process changed the other tables between that generation and our transaction. */
  #advance(generation: number): void {
    for (const [name, last] of this.#last)
      if (last.generation === generation) this.#last.set(name, { ...last, generation: next(generation) });
  }

  #observe(table: NftTableName): Moment<NftTable | undefined> {
    const name = formatNftTableName(table);
    const last = this.#last.get(name);
    if (last?.generation === this.#generation()) return last;
    const { value: read, generation } = this.#atOneMoment(table, () => this.#read(table));
    const observed = { value: read?.(), generation };
    this.#last.set(name, observed);
    return observed;
  }

  /** Returns a function that decodes the table: decoding takes longer than reading, and other programs may change their tables meanwhile. */
  #read(table: NftTableName): (() => NftTable) | undefined {
    const declared = this.#findDeclared(table);
    if (declared === undefined) return undefined;
    const elements = declared.sets.map((set) => (set.dynamic ? [] : this.#sets.elements(table, set)));
    return () => ({
      ...declared.complete(),
      sets: declared.sets.map((set, i) => {
        const found = new Set<string>();
        eachElement(set, elements[i] ?? [], (element) => found.add(element));
        return { ...set, elements: found };
      }),
    });
  }

  /** Its sets, and all but their elements. */
  #findDeclared(table: NftTableName) {
    const reply = this.#findTable(table);
    if (reply === undefined) return undefined;
    const { family, name } = table;
    const header = familyHeader(family);
    const sets = this.#dump(
      { type: NFT_MSG_GETSET, what: `list sets of table ${formatNftTableName(table)}` },
      (to) => setMessage.write(to, { ...header, NFTA_SET_TABLE: name }),
      (bytes, at, end) => setMessage.read(bytes, at, end, "skip"),
    );
    // The kernel selects sets and rules by table, chains only by family.
    const chains = this.#dump(
      { type: NFT_MSG_GETCHAIN, what: "list chains" },
      (to) => chainMessage.write(to, header),
      (bytes, at, end) => chainMessage.read(bytes, at, end, "skip"),
    );
    const rules = this.#dump(
      { type: NFT_MSG_GETRULE, what: `list rules of table ${formatNftTableName(table)}` },
      (to) => ruleMessage.write(to, { ...header, NFTA_RULE_TABLE: name }),
      (bytes, at, end) => ruleMessage.read(bytes, at, end, "skip"),
    );
    const own = chains.filter((chain) => chain.NFTA_CHAIN_TABLE === name);
    const { sets: declared } = toTable(family, reply, sets, own, []);
    return { sets: declared, complete: () => toTable(family, reply, sets, own, rules) };
  }

  #findTable(table: NftTableName): TableReply | undefined {
    let reply: TableReply | undefined;
    this.socket.get(
      {
        ...{
          type: NFT_MSG_GETTABLE,
          flags: 0,
          describe: () => `find table ${formatNftTableName(table)}`,
        },
        write: (to) => tableMessage.write(to, { ...familyHeader(table.family), NFTA_TABLE_NAME: table.name }),
      },
      (bytes, at, end) => {
        reply = tableMessage.read(bytes, at, end, "skip");
      },
    );
    return reply;
  }

  #dump<Item>(
    { type, what }: { type: number; what: string },
    write: Request["write"],
    read: (bytes: Uint8Array, at: number, end: number) => Item,
  ): Item[] {
    const items: Item[] = [];
    const restart = () => {
      items.length = 0;
    };
    this.socket.dump({ type, flags: 0, describe: () => what, write }, restart, (bytes, at, end) => {
      items.push(read(bytes, at, end));
    });
    return items;
  }

  /** Returns what `read` returns. If nftables changed meanwhile, it reads again. */
  #atOneMoment<Value>(table: NftTableName, read: () => Value): Moment<Value> {
    let generation = this.#generation();
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const before = generation;
      const value = this.#tryRead(read);
      // A list that was interrupted has been tried as often already.
      if (value instanceof NetlinkError && value.errno === Errno.EAGAIN) throw value;
      generation = this.#generation();
      if (generation !== before) continue;
      if (value instanceof NetlinkError) throw value;
      return { value, generation };
    }
    throw busy(`read table ${formatNftTableName(table)}`);
  }

  /** A refusal may come from the change: what was to be listed has gone. */
  #tryRead<Value>(read: () => Value): Value | NetlinkError {
    try {
      return read();
    } catch (error) {
      if (error instanceof NetlinkError) return error;
      throw error;
    }
  }

  /** A number that every transaction in the namespace changes. */
  #generation(): number {
    let generation = 0;
    this.socket.get(
      {
        ...{ type: NFT_MSG_GETGEN, flags: 0, describe: () => "read the generation of nftables" },
        write: (to) => generationMessage.write(to, {}),
      },
      (bytes, at, end) => {
        generation = generationMessage.read(bytes, at, end, "skip").NFTA_GEN_ID ?? 0;
      },
    );
    return generation;
  }
}

/** The generation that a transaction makes. */
function next(generation: number): number {
  return (generation + 1) >>> 0;
}

function busy(request: string): NetlinkError {
  const why = `another program changed nftables during each of ${maxAttempts} attempts`;
  return new NetlinkError(request, Errno.EAGAIN, why);
}
