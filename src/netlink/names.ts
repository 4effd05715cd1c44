// Interface names and the kernel's indexes of them, asked for one at a time and
// remembered until `forget`: interfaces come and go under the same name.
import {
  type linkMessage as LinkMessage,
  linkMessage,
  RTEXT_FILTER_SKIP_STATS,
  RTM_GETLINK,
} from "../wire/link.ts";
import type { Writer } from "../wire/writer.ts";
import type { NetlinkSocket, Visit } from "./socket.ts";

type LinkRequest = Parameters<typeof LinkMessage.write>[1];
type LinkReply = ReturnType<typeof LinkMessage.read>;

export class LinkNames {
  readonly #indexes = new Map<string, number>();
  readonly #names = new Map<number, string>();

  constructor(private readonly socket: NetlinkSocket) {}

  forget(): void {
    this.#indexes.clear();
    this.#names.clear();
  }

  /** The link of that name or index, as the kernel describes it. Throws NetlinkError, SysError. */
  find(request: LinkRequest): LinkReply | undefined {
    let found: LinkReply | undefined;
    this.#get(request, (bytes, at, end) => {
      found = linkMessage.read(bytes, at, end, "skip");
    });
    if (found?.IFLA_IFNAME !== undefined) this.remember(found.IFLA_IFNAME, found.ifi_index);
    return found;
  }

  /** Does the same as find, without reading the answer. Throws NetlinkError, SysError. */
  has(name: string): boolean {
    return this.#get({ IFLA_IFNAME: name }, () => {});
  }

  findIndex(name: string): number | undefined {
    return this.#indexes.get(name) ?? this.find({ IFLA_IFNAME: name })?.ifi_index;
  }

  findName(index: number): string | undefined {
    return this.#names.get(index) ?? this.find({ ifi_index: index })?.IFLA_IFNAME;
  }

  remember(name: string, index: number): void {
    this.#indexes.set(name, index);
    this.#names.set(index, name);
  }

  #get(request: LinkRequest, visit: Visit): boolean {
    const describe = () => `find link ${request.IFLA_IFNAME ?? request.ifi_index}`;
    const write = (to: Writer) =>
      linkMessage.write(to, { ...request, IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS });
    return this.socket.get({ type: RTM_GETLINK, flags: 0, describe, write }, visit);
  }
}
