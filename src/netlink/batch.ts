// Requests for changes, collected and sent together: one system call and one
// pass of the kernel for up to some hundred of them. Every request gets its own
// outcome; the caller judges the outcomes ("exists already" may be a success).
import { Errno } from "../linux/errno.ts";
import type { Address, LinkAdd, LinkChange, Neighbour, Route, Rule } from "../net/objects.ts";
import { addressMessage, RTM_DELADDR, RTM_NEWADDR } from "../wire/address.ts";
import { linkMessage, RTM_DELLINK } from "../wire/link.ts";
import { neighbourMessage, RTM_DELNEIGH, RTM_NEWNEIGH } from "../wire/neighbour.ts";
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../wire/nlmsg.ts";
import { RTM_DELROUTE, RTM_NEWROUTE, routeMessage } from "../wire/route.ts";
import { RTM_DELRULE, RTM_NEWRULE, ruleMessage } from "../wire/rule.ts";
import type { Writer } from "../wire/writer.ts";
import { describeAddress, describeNeighbour, describeRoute, describeRule } from "./describe.ts";
import { NetlinkError } from "./error.ts";
import { addLinkRequests, changeLinkRequests } from "./link.ts";
import type { LinkNames } from "./names.ts";
import { fromAddress, fromNeighbour, fromRoute, fromRouteToDelete, fromRule } from "./objects.ts";
import type { Request } from "./socket.ts";

const add = NLM_F_CREATE | NLM_F_EXCL;
const replace = NLM_F_CREATE | NLM_F_REPLACE;

/** One thing asked for: usually one message to the kernel, for links sometimes more. */
interface Item {
  readonly describe: () => string;
  /** The interface whose index the requests need. */
  readonly dev?: string | undefined;
  /** Makes or removes an interface, so that later names mean something else. */
  readonly changesNames?: boolean;
  readonly requests: (index: number | undefined) => readonly Request[];
}

export class Batch {
  readonly #items: Item[] = [];

  constructor(
    private readonly names: LinkNames,
    private readonly transact: (requests: readonly Request[]) => (NetlinkError | undefined)[],
  ) {}

  /** The number of requests that wait to be sent. */
  get size(): number {
    return this.#items.length;
  }

  addLink(link: LinkAdd): this {
    const describe = () => `add ${link.kind} link ${link.name}`;
    return this.#add({ describe, changesNames: true, requests: () => addLinkRequests(link, describe) });
  }

  changeLink(name: string, change: LinkChange): this {
    const describe = () => `change link ${name}`;
    return this.#add({ describe, requests: () => changeLinkRequests(name, change, describe) });
  }

  deleteLink(name: string): this {
    const describe = () => `delete link ${name}`;
    const write = (to: Writer) => linkMessage.write(to, { IFLA_IFNAME: name });
    return this.#add({
      describe,
      changesNames: true,
      requests: () => [{ type: RTM_DELLINK, flags: 0, describe, write }],
    });
  }

  /** Deletes all links of the group, in the time that one takes: the kernel waits once for all. */
  deleteLinkGroup(group: number): this {
    const describe = () => `delete the links of group ${group}`;
    const write = (to: Writer) => linkMessage.write(to, { IFLA_GROUP: group });
    return this.#add({
      describe,
      changesNames: true,
      requests: () => [{ type: RTM_DELLINK, flags: 0, describe, write }],
    });
  }

  addAddress(address: Address): this {
    return this.#address("add", RTM_NEWADDR, add, address);
  }

  deleteAddress(address: Address): this {
    return this.#address("delete", RTM_DELADDR, 0, address);
  }

  addRoute(route: Route): this {
    return this.#route("add", RTM_NEWROUTE, add, route);
  }

  /** Takes the place of the route with the same table, destination and priority, in one step. */
  replaceRoute(route: Route): this {
    return this.#route("replace", RTM_NEWROUTE, replace, route);
  }

  deleteRoute(route: Route): this {
    return this.#route("delete", RTM_DELROUTE, 0, route);
  }

  addRule(rule: Rule): this {
    return this.#rule("add", RTM_NEWRULE, add, rule);
  }

  deleteRule(rule: Rule): this {
    return this.#rule("delete", RTM_DELRULE, 0, rule);
  }

  /** Makes the entry, or changes the one of the same address. */
  replaceNeighbour(neighbour: Neighbour): this {
    return this.#neighbour("replace", RTM_NEWNEIGH, replace, neighbour);
  }

  deleteNeighbour(neighbour: Neighbour): this {
    return this.#neighbour("delete", RTM_DELNEIGH, 0, neighbour);
  }

  /** Asks for a route exactly as a kernel's message has it. */
  replaceRouteMessage(route: Route, message: Parameters<typeof routeMessage.write>[1]): this {
    const describe = () => `replace ${describeRoute(route)}`;
    const write = (to: Writer) => routeMessage.write(to, message);
    return this.#add({ describe, requests: () => [{ type: RTM_NEWROUTE, flags: replace, describe, write }] });
  }

  /**
   * Sends everything; one entry a call above, in order: undefined if it was
   * done, else why not. Throws SysError only.
   */
  send(): (NetlinkError | undefined)[] {
    const outcomes = new Array<NetlinkError | undefined>(this.#items.length).fill(undefined);
    let waiting: Request[] = [];
    let owners: number[] = [];
    let namesChange = false;
    const flush = () => {
      this.#transact(waiting, owners, outcomes);
      waiting = [];
      owners = [];
      if (namesChange) this.names.forget();
      namesChange = false;
    };
    for (let i = 0; i < this.#items.length; i++) {
      const item = this.#items[i] as Item;
      if (item.dev !== undefined && namesChange) flush();
      const index = item.dev === undefined ? undefined : this.names.findIndex(item.dev);
      if (item.dev !== undefined && index === undefined) {
        outcomes[i] = new NetlinkError(item.describe(), Errno.ENODEV, `no interface is named ${item.dev}`);
        continue;
      }
      for (const request of item.requests(index)) {
        waiting.push(request);
        owners.push(i);
      }
      namesChange ||= item.changesNames ?? false;
    }
    flush();
    this.#items.length = 0;
    return outcomes;
  }

  /** Files the outcomes under the items that the requests belong to; an item's first refusal counts. */
  #transact(requests: Request[], owners: number[], outcomes: (NetlinkError | undefined)[]): void {
    if (requests.length === 0) return;
    const refusals = this.transact(requests);
    for (let i = 0; i < refusals.length; i++) {
      const refusal = refusals[i];
      if (refusal === undefined) continue;
      outcomes[owners[i] as number] ??= refusal;
      // The index that we remembered may be that of an interface that has gone.
      if (refusal.errno === Errno.ENODEV) this.names.forget();
    }
  }

  #address(verb: string, type: number, flags: number, address: Address): this {
    const describe = () => `${verb} ${describeAddress(address)}`;
    return this.#add({
      describe,
      dev: address.dev,
      requests: (index = 0) => {
        const write = (to: Writer) => addressMessage.write(to, fromAddress(address, index));
        return [{ type, flags, describe, write }];
      },
    });
  }

  #route(verb: string, type: number, flags: number, route: Route): this {
    const describe = () => `${verb} ${describeRoute(route)}`;
    const from = type === RTM_DELROUTE ? fromRouteToDelete : fromRoute;
    return this.#add({
      describe,
      dev: route.dev,
      requests: (index) => [
        { type, flags, describe, write: (to) => routeMessage.write(to, from(route, index)) },
      ],
    });
  }

  #rule(verb: string, type: number, flags: number, rule: Rule): this {
    const describe = () => `${verb} ${describeRule(rule)}`;
    const write = (to: Writer) => ruleMessage.write(to, fromRule(rule));
    return this.#add({ describe, requests: () => [{ type, flags, describe, write }] });
  }

  #neighbour(verb: string, type: number, flags: number, neighbour: Neighbour): this {
    const describe = () => `${verb} ${describeNeighbour(neighbour)}`;
    return this.#add({
      describe,
      dev: neighbour.dev,
      requests: (index = 0) => {
        const write = (to: Writer) => neighbourMessage.write(to, fromNeighbour(neighbour, index));
        return [{ type, flags, describe, write }];
      },
    });
  }

  #add(item: Item): this {
    this.#items.push(item);
    return this;
  }
}
