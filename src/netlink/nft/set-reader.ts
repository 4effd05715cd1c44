// Reads the elements of sets, and what they have counted. There are thousands of elements in each set, and they are read
// every few seconds, so counters that stand still are not decoded again.
import type { NftCounter, NftSetDeclaration, NftTableName } from "../../net/nftables.ts";
import { formatNftTableName } from "../../net/nftables-text.ts";
import { elementsMessage } from "../../wire/nftables.ts";
import type { SetElement } from "../../wire/nftables-elements.ts";
import { NFT_MSG_GETSETELEM } from "../../wire/nftables-table.ts";
import type { NetlinkSocket, Request } from "../socket.ts";
import { eachElement } from "./elements.ts";
import { familyHeader } from "./objects.ts";

/** The counters of a set as they were read last. */
interface Counted {
  /** A digest of the list's bytes. Nodes choose addresses that are in it, so it must have no collisions. */
  readonly digest: string;
  readonly counters: ReadonlyMap<string, NftCounter>;
  /** True if the reading before had the same. */
  readonly isStill: boolean;
}

/** The counter of nearly all elements: they are kept, so it is one object for all. */
const zero: NftCounter = { packets: 0, bytes: 0 };

/** Everything throws NetlinkError, SysError and DecodeError. */
export class SetReader {
  readonly #counted = new Map<string, Counted>();

  constructor(private readonly socket: NetlinkSocket) {}

  elements(table: NftTableName, set: NftSetDeclaration): SetElement[] {
    return this.#read(table, set).elements;
  }

  /** Returns the same map as long as the kernel's list has the same bytes. */
  counters(table: NftTableName, set: NftSetDeclaration): ReadonlyMap<string, NftCounter> {
    const name = `${formatNftTableName(table)} ${set.name}`;
    const last = this.#counted.get(name);
    if (last?.isStill && this.#digest(table, set) === last.digest) return last.counters;
    const { elements, digest } = this.#read(table, set);
    const counters = new Map<string, NftCounter>();
    eachElement(set, elements, (element, counter) => {
      if (counter !== undefined) counters.set(element, counter.packets === 0 ? zero : counter);
    });
    // A set that counts all the time would be listed twice for each reading.
    this.#counted.set(name, { digest, counters, isStill: digest === last?.digest });
    return counters;
  }

  #digest(table: NftTableName, set: NftSetDeclaration): string {
    let hasher = makeHasher();
    const restart = () => {
      hasher = makeHasher();
    };
    this.socket.dump(elementsRequest(table, set), restart, (bytes, at, end) => {
      hasher.update(bytes.subarray(at + nfgenmsgBytes, end));
    });
    return hasher.digest("base64");
  }

  #read(table: NftTableName, set: NftSetDeclaration): { elements: SetElement[]; digest: string } {
    const lists: (readonly SetElement[])[] = [];
    let hasher = makeHasher();
    const restart = () => {
      lists.length = 0;
      hasher = makeHasher();
    };
    this.socket.dump(elementsRequest(table, set), restart, (bytes, at, end) => {
      hasher.update(bytes.subarray(at + nfgenmsgBytes, end));
      lists.push(elementsMessage.read(bytes, at, end, "skip").NFTA_SET_ELEM_LIST_ELEMENTS ?? []);
    });
    return { elements: lists.flat(), digest: hasher.digest("base64") };
  }
}

const makeHasher = () => new Bun.CryptoHasher("sha256");

function elementsRequest(table: NftTableName, { name }: NftSetDeclaration): Request {
  return {
    ...{ type: NFT_MSG_GETSETELEM, flags: 0 },
    describe: () => `list elements of set ${formatNftTableName(table)} ${name}`,
    write: (to) =>
      elementsMessage.write(to, {
        ...{ ...familyHeader(table.family), NFTA_SET_ELEM_LIST_TABLE: table.name },
        NFTA_SET_ELEM_LIST_SET: name,
      }),
  };
}

/** The header of a message, struct nfgenmsg, has the generation of nftables: every program's changes change it. */
const nfgenmsgBytes = 4;
