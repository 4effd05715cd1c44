// Making and changing links: which messages it takes, and in which order. The
// values are command values: an absent property means "leave as it is".

import type { Ipv4LinkSettings, LinkAdd, LinkChange, VethAdd } from "../net/objects.ts";
import {
  IFF_UP,
  IN6_ADDR_GEN_MODE_NONE,
  linkMessage,
  RTM_NEWLINK,
  RTM_SETLINK,
  vethInfo,
} from "../wire/link.ts";
import { NLM_F_CREATE, NLM_F_EXCL } from "../wire/nlmsg.ts";
import { Writer } from "../wire/writer.ts";
import type { Request } from "./socket.ts";

export function addLinkRequests(link: LinkAdd, describe: () => string): Request[] {
  const make = {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    describe,
    write: (to: Writer) =>
      linkMessage.write(to, {
        IFLA_IFNAME: link.name,
        IFLA_MTU: link.mtu,
        IFLA_ADDRESS: link.kind === "veth" ? link.mac : undefined,
        IFLA_GROUP: link.kind === "veth" ? link.group : undefined,
        IFLA_LINKINFO: {
          IFLA_INFO_KIND: link.kind,
          IFLA_INFO_DATA: link.kind === "veth" ? peerData(link.peer) : undefined,
        },
      }),
  };
  if (link.kind === "wireguard") return [make];
  const { up, addrGenModeNone, ipv4 } = link;
  const after = {
    ...(up === undefined ? {} : { up }),
    ...(addrGenModeNone ? { addrGenModeNone } : {}),
    ...(ipv4 === undefined ? {} : { ipv4 }),
  };
  return [make, ...changeLinkRequests(link.name, after, describe)];
}

/**
 * The address generation mode goes before everything else, in a message of its
 * own: of one message the kernel applies "up" first, and makes the address then.
 * The settings of IPv4 follow, apart from it: a kernel without IPv6 refuses that
 * message as a whole.
 */
export function changeLinkRequests(name: string, change: LinkChange, describe: () => string): Request[] {
  const requests: Request[] = [];
  const request = (values: Parameters<typeof linkMessage.write>[1]) =>
    requests.push({
      type: RTM_SETLINK,
      flags: 0,
      describe,
      write: (to) => linkMessage.write(to, { ...values, IFLA_IFNAME: name }),
    });
  if (change.addrGenModeNone)
    request({ IFLA_AF_SPEC: { AF_INET6: { IFLA_INET6_ADDR_GEN_MODE: IN6_ADDR_GEN_MODE_NONE } } });
  if (change.ipv4 !== undefined)
    request({ IFLA_AF_SPEC: { AF_INET: { IFLA_INET_CONF: devconf(change.ipv4) } } });
  const { up, mtu, mac, group } = change;
  if ([up, mtu, mac, group].every((value) => value === undefined)) return requests;
  request({
    ifi_flags: change.up ? IFF_UP : 0,
    ifi_change: change.up === undefined ? 0 : IFF_UP,
    IFLA_MTU: change.mtu,
    IFLA_ADDRESS: change.mac,
    IFLA_GROUP: change.group,
  });
  return requests;
}

function devconf({ rpFilter, acceptRedirects, sendRedirects, proxyArp }: Ipv4LinkSettings) {
  return {
    IPV4_DEVCONF_RP_FILTER: rpFilter,
    IPV4_DEVCONF_ACCEPT_REDIRECTS: acceptRedirects,
    IPV4_DEVCONF_SEND_REDIRECTS: sendRedirects,
    IPV4_DEVCONF_PROXY_ARP: proxyArp,
  };
}

function peerData(peer: VethAdd["peer"]): Uint8Array {
  const data = new Writer(128);
  vethInfo.write(data, {
    VETH_INFO_PEER: {
      IFLA_IFNAME: peer.name,
      IFLA_MTU: peer.mtu,
      IFLA_ADDRESS: peer.mac,
      IFLA_NET_NS_FD: peer.netnsFd,
    },
  });
  return data.written;
}
