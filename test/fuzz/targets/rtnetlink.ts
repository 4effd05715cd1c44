// Dumps of links, addresses, routes, rules and neighbours, with all that is read of them.
import {
  fromAddress,
  fromRoute,
  fromRule,
  toAddress,
  toLink,
  toNeighbour,
  toRoute,
  toRule,
} from "../../../src/netlink/objects.ts";
import { addressMessage, RTM_NEWADDR } from "../../../src/wire/address.ts";
import { findFamily } from "../../../src/wire/codec.ts";
import { linkMessage, RTM_NEWLINK, vethInfo } from "../../../src/wire/link.ts";
import { neighbourMessage, RTM_NEWNEIGH } from "../../../src/wire/neighbour.ts";
import { netconfMessage, RTM_NEWNETCONF } from "../../../src/wire/netconf.ts";
import { netnsIdMessage } from "../../../src/wire/netns-id.ts";
import { RTM_NEWROUTE, routeMessage } from "../../../src/wire/route.ts";
import { RTM_NEWRULE, ruleMessage } from "../../../src/wire/rule.ts";
import type { Target } from "../target.ts";
import { readMessages } from "./netlink.ts";

export const rtnetlink: Target = {
  name: "rtnetlink",
  form: "netlink",
  refusals: ["DecodeError"],
  run: (input) => readMessages(input, readMessage),
};

function readMessage(type: number, bytes: Uint8Array, at: number, end: number): unknown {
  switch (type) {
    case RTM_NEWLINK:
      return readLink(bytes, at, end);
    case RTM_NEWADDR: {
      const address = toAddress(addressMessage.read(bytes, at, end), "eth0");
      return address === undefined ? address : [address, fromAddress(address, 1)];
    }
    case RTM_NEWROUTE: {
      const message = routeMessage.read(bytes, at, end);
      const family = findFamily(message.rtm_family);
      if (family === undefined) return undefined;
      const route = toRoute(message, family, "eth0");
      return [route, fromRoute(route, 1)];
    }
    case RTM_NEWRULE: {
      const rule = toRule(ruleMessage.read(bytes, at, end));
      return rule === undefined ? rule : [rule, fromRule(rule)];
    }
    case RTM_NEWNEIGH:
      return toNeighbour(neighbourMessage.read(bytes, at, end), "eth0");
    case RTM_NEWNETCONF:
      return netconfMessage.read(bytes, at, end);
    default:
      return netnsIdMessage.read(bytes, at, end);
  }
}

function readLink(bytes: Uint8Array, at: number, end: number): unknown {
  const message = linkMessage.read(bytes, at, end);
  const data = message.IFLA_LINKINFO?.IFLA_INFO_DATA;
  const isVeth = message.IFLA_LINKINFO?.IFLA_INFO_KIND === "veth" && data !== undefined;
  return [toLink(message), message, isVeth ? vethInfo.read(data, 0, data.length) : undefined];
}
