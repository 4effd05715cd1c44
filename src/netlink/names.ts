// Interface names and the kernel's indexes of them, asked for one at a time and remembered until the next
// read begins, because interfaces come and go under the same name, or for the duration of a call.
import {
  type linkMessage as LinkMessage,
  linkMessage,
  RTEXT_FILTER_SKIP_STATS,
  RTM_GETLINK,
} from "../wire/link.ts";
import type { Writer } from "../wire/writer.ts";
import type { NetlinkSocket, Request } from "./socket.ts";

type LinkRequest = Parameters<typeof LinkMessage.write>[1];
type LinkReply = ReturnType<typeof LinkMessage.read>;

export class LinkNames {
  readonly #indexes = new Map<string, number>();
  readonly #names = new Map<number, string>();

  #isHeld = false;

  constructor(private readonly socket: NetlinkSocket) {}

  forget(): void {
    this.#indexes.clear();
    this.#names.clear();
  }

  /** Forgets what is known, and from now on only what `forget` says. */
  hold(): void {
    this.forget();
    this.#isHeld = true;
  }

  beginRead(): void {
    if (!this.#isHeld) this.forget();
  }

  /** The link of that name or index, as the kernel describes it. Throws NetlinkError, SysError. */
  find(request: LinkRequest): LinkReply | undefined {
    let found: LinkReply | undefined;
    this.socket.get(linkRequest(request), (bytes, at, end) => {
      found = linkMessage.read(bytes, at, end, "skip");
    });
    if (found?.IFLA_IFNAME !== undefined) this.remember(found.IFLA_IFNAME, found.ifi_index);
    return found;
  }

  /** Says which links exist, without reading the answers. Throws NetlinkError, SysError. */
  has(names: readonly string[]): boolean[] {
    const requests = names.map((name) => linkRequest({ IFLA_IFNAME: name }));
    return this.socket.getAll(requests, () => {});
  }

  /** The packets that were handed to the link to be transmitted; undefined if there is no such link. Throws NetlinkError, SysError. */
  transmitted(name: string): number | undefined {
    let packets: number | undefined;
    const request = { type: RTM_GETLINK, flags: 0, describe: () => `read the counters of link ${name}` };
    const write = (to: Writer) => linkMessage.write(to, { IFLA_IFNAME: name });
    this.socket.get({ ...request, write }, (bytes, at, end) => {
      packets = linkMessage.read(bytes, at, end, "skip").IFLA_STATS64;
    });
    return packets;
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
}

function linkRequest(request: LinkRequest): Request {
  return {
    ...{ type: RTM_GETLINK, flags: 0 },
    describe: () => `find link ${request.IFLA_IFNAME ?? request.ifi_index}`,
    write: (to) => linkMessage.write(to, { ...request, IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS }),
  };
}
