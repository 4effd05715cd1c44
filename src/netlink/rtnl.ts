// Links, addresses, routes, rules and neighbours of one network namespace, read
// as plain values (net/objects.ts). Changes are requested through Batch; what
// should be there is decided elsewhere (rtnetlink(7)).
import { Errno } from "../linux/errno.ts";
import { type Family, familyOf, ipBytes } from "../net/ip.ts";
import type {
  Address,
  BridgeEntry,
  Link,
  Neighbour,
  Route,
  RouteLookup,
  RouteType,
  Rule,
} from "../net/objects.ts";
import { addressMessage, RTM_GETADDR } from "../wire/address.ts";
import type { Unknown } from "../wire/attributes.ts";
import { addressFamily } from "../wire/codec.ts";
import { linkMessage, RTEXT_FILTER_SKIP_STATS, RTM_GETLINK } from "../wire/link.ts";
import { AF_BRIDGE, NUD_FAILED, NUD_INCOMPLETE, neighbourMessage, RTM_GETNEIGH } from "../wire/neighbour.ts";
import { netnsIdMessage, RTM_GETNSID } from "../wire/netns-id.ts";
import { RTM_F_CLONED, RTM_GETROUTE, routeMessage } from "../wire/route.ts";
import { RTM_GETRULE, ruleMessage } from "../wire/rule.ts";
import type { Writer } from "../wire/writer.ts";
import { Batch } from "./batch.ts";
import { NetlinkError } from "./error.ts";
import { type LookupQuery, lookUpRoutes } from "./lookup.ts";
import { LinkNames } from "./names.ts";
import { fromRouteType, toAddress, toLink, toNeighbour, toRoute, toRule } from "./objects.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./socket.ts";

/** A route with the kernel's message, which includes attributes that we do not know. */
export type RouteReply = ReturnType<typeof routeMessage.read>;

type NeighbourReply = ReturnType<typeof neighbourMessage.read>;

export interface RouteFilter {
  readonly family: Family;
  /** Default: all tables. */
  readonly table?: number;
  /** Default: all types. */
  readonly type?: RouteType;
  /** Only routes out of this interface; default: all. */
  readonly dev?: string;
  /** Only so many, the first that the kernel lists; default: all. */
  readonly limit?: number;
}

/** Owns a netlink socket. Reads throw NetlinkError, SysError and DecodeError; after the last two the conversation is lost: open another. */
export class Rtnl implements Disposable {
  readonly #names: LinkNames;
  #writes = 0;

  private constructor(private readonly socket: NetlinkSocket) {
    this.#names = new LinkNames(socket);
  }

  /** Opens the socket in the namespace at `netns` (default: this thread's), where it stays. Throws SysError. */
  static open(netns?: string): Rtnl {
    return new Rtnl(NetlinkSocket.open(NETLINK_ROUTE, netns));
  }

  /** The requests so far that have changed something; refused ones are not counted. */
  get writes(): number {
    return this.#writes;
  }

  /** The port by which the kernel's events name changes from here; undefined before the first answer. */
  get port(): number | undefined {
    return this.socket.port;
  }

  /** Remembers names of interfaces from now on: only for a call that is over before another program renames one. */
  holdNames(): void {
    this.#names.hold();
  }

  links(): Link[] {
    const links = this.#list(
      RTM_GETLINK,
      "list links",
      (to) => linkMessage.write(to, { IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS }),
      (bytes, at, end) => toLink(linkMessage.read(bytes, at, end, "skip")),
    );
    this.#names.forget();
    for (const link of links) this.#names.remember(link.name, link.index);
    return links;
  }

  findLink(name: string): Link | undefined {
    const found = this.#names.find({ IFLA_IFNAME: name });
    return found === undefined ? undefined : toLink(found);
  }

  /** The packets that were handed to a link to be transmitted; undefined if there is no such link. */
  packetsInto(name: string): number | undefined {
    return this.#names.transmitted(name);
  }

  findLinkAt(index: number): Link | undefined {
    const found = this.#names.find({ ifi_index: index });
    return found === undefined ? undefined : toLink(found);
  }

  /** The number by which links here name the namespace that is open as `fd`; undefined if none has one. */
  netnsId(fd: number): number | undefined {
    let id: number | undefined;
    this.socket.get(
      {
        ...{ type: RTM_GETNSID, flags: 0, describe: () => "find the number of a network namespace" },
        write: (to) => netnsIdMessage.write(to, { NETNSA_FD: fd }),
      },
      (bytes, at, end) => {
        id = netnsIdMessage.read(bytes, at, end, "skip").NETNSA_NSID;
      },
    );
    return id === undefined || id < 0 ? undefined : id;
  }

  hasLink(name: string): boolean {
    return this.hasLinks([name]);
  }

  /** Tests if all of them exist, which is cheaper than findLink: decoding a link is most of the work. */
  hasLinks(names: readonly string[]): boolean {
    return this.#names.has(names).every((exists) => exists);
  }

  /** The index of an interface, remembered since the last read. Throws NetlinkError ENODEV if there is none. */
  indexOf(name: string): number {
    const index = this.#names.findIndex(name);
    if (index === undefined) throw new NetlinkError(`find link ${name}`, Errno.ENODEV);
    return index;
  }

  /** Reads addresses of one interface or of all; the first `limit` of them. Throws NetlinkError ENODEV if there is no such interface. */
  addresses(dev?: string, limit?: number): Address[] {
    this.#names.beginRead();
    const index = dev === undefined ? 0 : this.indexOf(dev);
    const messages = this.#list(
      RTM_GETADDR,
      dev === undefined ? "list addresses" : `list addresses of ${dev}`,
      (to) => addressMessage.write(to, { ifa_index: index }),
      (bytes, at, end) => addressMessage.read(bytes, at, end, "skip"),
      limit,
    );
    return defined(messages, (message) => {
      const name = this.#names.findName(message.ifa_index);
      // Without strict checking (before Linux 4.20) all interfaces' come.
      return name === undefined || (dev !== undefined && name !== dev) ? undefined : toAddress(message, name);
    });
  }

  /** Routes of one family, without the kernel's cached ones. The kernel selects; of an interface that is not there it has none. */
  routes(filter: RouteFilter): Route[] {
    return defined(this.#routeReplies(filter, "skip"), (reply) => this.#route(reply, filter.family));
  }

  /** The kernel's way to each address for packets with the mark `mark`, in order. */
  lookUpRoutes(dsts: readonly string[], mark: number): RouteLookup[] {
    return this.lookUpPackets(dsts.map((dst) => ({ dst, mark })));
  }

  /** The kernel's way for each packet, in order. */
  lookUpPackets(queries: readonly LookupQuery[]): RouteLookup[] {
    this.#names.beginRead();
    return lookUpRoutes(this.socket, this.#names, queries);
  }

  /** Reads routes, each with the kernel's message, to change one without losing attributes that we do not know. */
  routeReplies(filter: RouteFilter): { route: Route; reply: RouteReply }[] {
    return defined(this.#routeReplies(filter, "keep"), (reply) => {
      const route = this.#route(reply, filter.family);
      return route === undefined ? undefined : { route, reply };
    });
  }

  rules(family: Family): Rule[] {
    const rules = this.#list(
      RTM_GETRULE,
      `list IPv${family} rules`,
      (to) => ruleMessage.write(to, { family: addressFamily(family) }),
      (bytes, at, end) => toRule(ruleMessage.read(bytes, at, end)),
    );
    // A kernel without IPv6 answers with the rules it has.
    return defined(rules, (rule) => (rule?.family === family ? rule : undefined));
  }

  /** Throws NetlinkError ENODEV if there is no such interface. */
  neighbours(dev: string): Neighbour[] {
    this.#names.beginRead();
    const index = this.indexOf(dev);
    const messages = this.#neighbourReplies(`list neighbours of ${dev}`, { NDA_IFINDEX: index });
    return defined(messages, (message) =>
      message.ndm_ifindex === index ? toNeighbour(message, dev) : undefined,
    );
  }

  /** True if a neighbour on any interface has the address, or had it when it was last asked. */
  hasNeighbour(ip: string): boolean {
    const ndm_family = addressFamily(familyOf(ip));
    const address = ipBytes(ip);
    // There may be a hundred for each one that is looked for: only messages that have its bytes are decoded.
    const read = (bytes: Uint8Array, at: number, end: number) =>
      Buffer.from(bytes.buffer, bytes.byteOffset + at, end - at).includes(address)
        ? neighbourMessage.read(bytes, at, end, "skip")
        : undefined;
    const isThere = (message: NeighbourReply | undefined) =>
      message?.NDA_DST === ip && (message.ndm_state & (NUD_INCOMPLETE | NUD_FAILED)) === 0;
    const request = (to: Writer) => neighbourMessage.write(to, { ndm_family });
    return this.#list(RTM_GETNEIGH, "list neighbours", request, read).some(isThere);
  }

  /** Reads what the bridges of this namespace have learned; the addresses of their ports are there too. */
  bridgeEntries(): BridgeEntry[] {
    this.#names.beginRead();
    const messages = this.#neighbourReplies("list what bridges have learned", { ndm_family: AF_BRIDGE });
    return defined(messages, ({ ndm_ifindex, NDA_LLADDR: mac }) => {
      const dev = mac === undefined ? undefined : this.#names.findName(ndm_ifindex);
      return mac === undefined || dev === undefined ? undefined : { dev, mac };
    });
  }

  /** Requests for changes, to be sent together. */
  batch(): Batch {
    return new Batch(this.#names, (requests) => {
      const refusals = this.socket.transact(requests);
      this.#writes += refusals.filter((refusal) => refusal === undefined).length;
      return refusals;
    });
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
  }

  #neighbourReplies(what: string, request: Parameters<typeof neighbourMessage.write>[1]): NeighbourReply[] {
    return this.#list(
      RTM_GETNEIGH,
      what,
      (to) => neighbourMessage.write(to, request),
      (bytes, at, end) => neighbourMessage.read(bytes, at, end, "skip"),
    );
  }

  #routeReplies({ family, table, type, dev, limit }: RouteFilter, unknown: Unknown): RouteReply[] {
    this.#names.beginRead();
    const index = dev === undefined ? undefined : this.#names.findIndex(dev);
    if (dev !== undefined && index === undefined) return [];
    const rtm_family = addressFamily(family);
    const rtm_type = type === undefined ? 0 : fromRouteType(type);
    const replies = this.#list(
      RTM_GETROUTE,
      `list IPv${family} routes${table === undefined ? "" : ` of table ${table}`}`,
      (to) => routeMessage.write(to, { rtm_family, rtm_type, RTA_TABLE: table, RTA_OIF: index }),
      (bytes, at, end) => routeMessage.read(bytes, at, end, unknown),
      limit,
    );
    // Without strict checking (before Linux 4.20) the kernel selects by family only.
    return replies.filter(
      (reply) =>
        (reply.rtm_flags & RTM_F_CLONED) === 0 &&
        reply.rtm_family === rtm_family &&
        (table === undefined || (reply.RTA_TABLE ?? reply.rtm_table) === table) &&
        (type === undefined || reply.rtm_type === rtm_type) &&
        (index === undefined || reply.RTA_OIF === index),
    );
  }

  /** Undefined if the route's interface has gone meanwhile, and so the route. */
  #route(reply: RouteReply, family: Family): Route | undefined {
    if (reply.RTA_OIF === undefined) return toRoute(reply, family, undefined);
    const dev = this.#names.findName(reply.RTA_OIF);
    return dev === undefined ? undefined : toRoute(reply, family, dev);
  }

  /**
   * Reads the items of a dump. A table or family that the kernel does not have is an empty list. Items
   * beyond `limit` are received, because the conversation continues after them, and not read.
   */
  #list<Item>(
    type: number,
    what: string,
    write: (to: Writer) => void,
    read: (bytes: Uint8Array, at: number, end: number) => Item,
    limit = Number.POSITIVE_INFINITY,
  ): Item[] {
    const items: Item[] = [];
    const restart = () => {
      items.length = 0;
    };
    try {
      this.socket.dump({ type, flags: 0, describe: () => what, write }, restart, (bytes, at, end) => {
        if (items.length < limit) items.push(read(bytes, at, end));
      });
    } catch (error) {
      if (error instanceof NetlinkError && absent.includes(error.errno)) return [];
      throw error;
    }
    return items;
  }
}

/** ENOENT: no such routing table yet; the other codes: a kernel without IPv6 or without policy rules. */
const absent: readonly number[] = [Errno.ENOENT, Errno.EAFNOSUPPORT, Errno.EOPNOTSUPP];

function defined<Item, Value>(items: readonly Item[], value: (item: Item) => Value | undefined): Value[] {
  const values: Value[] = [];
  for (const item of items) {
    const found = value(item);
    if (found !== undefined) values.push(found);
  }
  return values;
}
