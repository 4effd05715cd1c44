// The kernel's events about changes to links, addresses, routes, rules
// (rtnetlink(7), multicast groups) and nftables, as the few facts needed to
// decide whether to read again. Loss is normal: a reader that is too slow gets
// ENOBUFS, and must read everything.
import { AF_NETLINK, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET, Socket } from "../linux/socket.ts";
import type { RouteType } from "../net/objects.ts";
import { addressMessage, RTM_DELADDR, RTM_NEWADDR } from "../wire/address.ts";
import { findFamily } from "../wire/codec.ts";
import { linkMessage, RTM_DELLINK, RTM_NEWLINK } from "../wire/link.ts";
import { netconfMessage, RTM_NEWNETCONF } from "../wire/netconf.ts";
import { inTableMessage, NFT_MSG_NEWGEN } from "../wire/nftables.ts";
import { NFNL_SUBSYS_NFTABLES } from "../wire/nftables-table.ts";
import { nextMessage, readHeader } from "../wire/nlmsg.ts";
import { RTM_DELROUTE, RTM_NEWROUTE, routeMessage } from "../wire/route.ts";
import { RTM_DELRULE, RTM_NEWRULE, ruleMessage } from "../wire/rule.ts";
import { toLink, toRoute } from "./objects.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE } from "./socket.ts";

export type KernelChange =
  /** `up`: administratively; false too for one that is gone. */
  | { readonly about: "link"; readonly name: string; readonly mtu: number; readonly up: boolean }
  /** `index`: of the interface. */
  | { readonly about: "address"; readonly ip: string; readonly index: number }
  | { readonly about: "rule"; readonly priority: number; readonly table: number; readonly protocol: number }
  /** A process has changed a reverse-path filter (rp_filter) of IPv4. */
  | { readonly about: "reversePathFilter" }
  /** A process has switched the forwarding of an interface, or of the whole host for one family: then `index` is absent. */
  | { readonly about: "forwarding"; readonly index?: number }
  /** `dst` is a canonical prefix. */
  | {
      readonly about: "route";
      readonly table: number;
      readonly dst: string;
      readonly type: RouteType;
      readonly isGone: boolean;
    }
  /** Something in an nftables table of that name. */
  | { readonly about: "firewall"; readonly table: string };

/** `port`: of the socket whose request made the change; 0 if the kernel made it by itself. */
export type KernelEvent = KernelChange & { readonly port: number };

/** One family of events: a socket that they arrive on, and what they mean. */
export interface EventSource {
  /** Opens the socket in this namespace. Throws SysError. */
  readonly open: () => Socket;
  /** The events in what was received; other messages are passed over. Throws DecodeError. */
  readonly read: (bytes: Uint8Array, length: number) => KernelEvent[];
}

/** RTNLGRP_* (linux/rtnetlink.h). */
const routeGroups = {
  link: 1,
  ipv4Address: 5,
  ipv4Route: 7,
  ipv4Rule: 8,
  ipv6Address: 9,
  ipv6Route: 11,
  ipv6Rule: 19,
  ipv4Netconf: 24,
  ipv6Netconf: 25,
};

/** NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h). */
const nftablesGroup = 7;

export const routeEvents: EventSource = {
  open: () => openSource(NETLINK_ROUTE, Object.values(routeGroups)),
  read: (bytes, length) => readAll(bytes, length, readRouteEvent),
};

export const firewallEvents: EventSource = {
  open: () => openSource(NETLINK_NETFILTER, [nftablesGroup]),
  read: (bytes, length) => readAll(bytes, length, readFirewallEvent),
};

/**
 * A pod that starts causes about thirty events of 2 to 4 KB. A hundred pods may start during one pass over thousands
 * of peers, and a loss costs another pass.
 */
const receiveBufferBytes = 8 * 1024 * 1024;

/** Group n is bit n - 1. */
function openSource(protocol: number, groups: readonly number[]): Socket {
  const socket = Socket.open(AF_NETLINK, SOCK_RAW, protocol, "the kernel's event socket");
  let mask = 0;
  for (const group of groups) mask |= 1 << (group - 1);
  // struct sockaddr_nl: family, padding, port (0: the kernel chooses), groups.
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(8, mask, true);
  socket.bind(address);
  socket.trySetOption(SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes);
  return socket;
}

type Reader = (type: number, bytes: Uint8Array, at: number, end: number) => KernelChange | undefined;

function readAll(bytes: Uint8Array, length: number, read: Reader): KernelEvent[] {
  const events: KernelEvent[] = [];
  for (let at = 0; at < length; ) {
    const header = readHeader(bytes, at, length);
    const change = read(header.type, bytes, header.at, header.end);
    if (change !== undefined) events.push({ ...change, port: header.port });
    at = nextMessage(header);
  }
  return events;
}

function readRouteEvent(type: number, bytes: Uint8Array, at: number, end: number): KernelChange | undefined {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      const { name, mtu, up } = toLink(linkMessage.read(bytes, at, end, "skip"));
      return { about: "link", name, mtu, up: up && type === RTM_NEWLINK };
    }
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return readAddressEvent(bytes, at, end);
    case RTM_NEWRULE:
    case RTM_DELRULE: {
      const { table, ...message } = ruleMessage.read(bytes, at, end, "skip");
      const { FRA_PRIORITY: priority = 0, FRA_TABLE = table, FRA_PROTOCOL: protocol = 0 } = message;
      return { about: "rule", priority, table: FRA_TABLE, protocol };
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const message = routeMessage.read(bytes, at, end, "skip");
      const family = findFamily(message.rtm_family);
      if (family === undefined) return undefined;
      const { table, dst, type: kind } = toRoute(message, family, undefined);
      return { about: "route", table, dst, type: kind, isGone: type === RTM_DELROUTE };
    }
    case RTM_NEWNETCONF: {
      return readNetconfEvent(bytes, at, end);
    }
    default:
      return undefined;
  }
}

function readAddressEvent(bytes: Uint8Array, at: number, end: number): KernelChange | undefined {
  const { IFA_LOCAL, IFA_ADDRESS, ifa_index: index } = addressMessage.read(bytes, at, end, "skip");
  const ip = IFA_LOCAL ?? IFA_ADDRESS;
  return ip === undefined ? undefined : { about: "address", ip, index };
}

/** NETCONFA_IFINDEX_ALL (linux/netconf.h). */
const allInterfaces = -1;

/** A new interface, as every pod brings one, has all settings in one message; a change of one setting has only that one. */
function readNetconfEvent(bytes: Uint8Array, at: number, end: number): KernelChange | undefined {
  const { NETCONFA_IFINDEX, NETCONFA_FORWARDING, NETCONFA_RP_FILTER } = netconfMessage.read(
    ...([bytes, at, end, "skip"] as const),
  );
  if (NETCONFA_RP_FILTER !== undefined)
    return NETCONFA_FORWARDING === undefined ? { about: "reversePathFilter" } : undefined;
  if (NETCONFA_FORWARDING === undefined) return undefined;
  const isOfHost = NETCONFA_IFINDEX === undefined || NETCONFA_IFINDEX === allInterfaces;
  return { about: "forwarding", ...(isOfHost ? {} : { index: NETCONFA_IFINDEX }) };
}

/** Every message about a table, chain, rule, set or element has the table's name as attribute 1; a new generation has none. */
function readFirewallEvent(
  type: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): KernelChange | undefined {
  if (type >> 8 !== NFNL_SUBSYS_NFTABLES || type === NFT_MSG_NEWGEN) return undefined;
  const { NFTA_TABLE_NAME } = inTableMessage.read(bytes, at, end, "skip");
  return NFTA_TABLE_NAME === undefined ? undefined : { about: "firewall", table: NFTA_TABLE_NAME };
}
