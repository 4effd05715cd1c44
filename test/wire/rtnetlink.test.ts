// Messages as ip(8) sends them and the kernel answers them, captured with
//   strace -e trace=sendmsg,recvmsg -e read=3 -e write=3 COMMAND
// (iproute2 6.1, Linux 6.18). Each vector names its COMMAND; the netlink header is left out.
import { describe, expect, test } from "bun:test";
import type { Address, Route, Rule } from "../../src/net/objects.ts";
import {
  fromAddress,
  fromNeighbour,
  fromRoute,
  fromRule,
  toAddress,
  toNeighbour,
  toRoute,
  toRule,
} from "../../src/netlink/objects.ts";
import { addressMessage } from "../../src/wire/address.ts";
import { linkMessage, vethInfo } from "../../src/wire/link.ts";
import { neighbourMessage } from "../../src/wire/neighbour.ts";
import { routeMessage } from "../../src/wire/route.ts";
import { ruleMessage } from "../../src/wire/rule.ts";
import { bytesOf, decode, encode, expectBothWays } from "./bytes.ts";

const mark = { mark: 0x100000, mask: 0x100000 };

/** `value` in our bytes means what the captured bytes mean, whatever the order of attributes. */
function expectSameMeaning<V>(
  codec: { read(bytes: Uint8Array, at: number, end: number): object; write(to: never, value: V): void },
  hex: string,
  value: V,
): void {
  expect(decode(codec, encode(codec as never, value))).toEqual(decode(codec, bytesOf(hex)));
}

describe("links", () => {
  // ip link add v0 mtu 1400 address 02:00:00:00:00:01 type veth peer name eth0 mtu 1380 address 02:00:00:00:00:02
  const peerData = `
    34000100 00000000000000000000000000000000
      0800040064050000
      0a0001000200000000020000
      090003006574683000 000000`;
  const add = `
    00000000000000000000000000000000
    0800040078050000
    0a0001000200000000010000
    0700030076300000
    44001200 0800010076657468 38000200 ${peerData}`;

  test("a veth pair to be made", () => {
    const { IFLA_LINKINFO, ...rest } = decode(linkMessage, bytesOf(add));
    expect(rest).toMatchObject({ IFLA_MTU: 1400, IFLA_ADDRESS: "02:00:00:00:00:01", IFLA_IFNAME: "v0" });
    expect(IFLA_LINKINFO?.IFLA_INFO_KIND).toBe("veth");
    expect(IFLA_LINKINFO?.IFLA_INFO_DATA?.toHex()).toBe(bytesOf(peerData).toHex());
  });

  test("the other end of a veth pair", () => {
    expectBothWays(vethInfo, peerData, {
      VETH_INFO_PEER: {
        ifi_family: 0,
        __ifi_pad: 0,
        ifi_type: 0,
        ifi_index: 0,
        ifi_flags: 0,
        ifi_change: 0,
        IFLA_MTU: 1380,
        IFLA_ADDRESS: "02:00:00:00:00:02",
        IFLA_IFNAME: "eth0",
      },
    });
  });

  test("ip link set dev v0 addrgenmode none", () => {
    expectBothWays(linkMessage, "00000000030000000000000000000000 10001a00 0c000a00 0500080001000000", {
      ifi_index: 3,
      IFLA_AF_SPEC: { AF_INET6: { IFLA_INET6_ADDR_GEN_MODE: 1 } },
    });
  });

  // ip link show dev v0, without most of what we do not know
  test("a link with attributes that the table does not know", () => {
    const answer = `
      00000100030000004310010000000000
      0700030076300000
      08000d00e8030000
      0800040078050000
      0a0001000200000000010000
      0800050002000000
      0c0006006e6f717565756500`;
    const link = decode(linkMessage, bytesOf(answer));
    expect(link).toMatchObject({ ifi_index: 3, ifi_flags: 0x11043, IFLA_IFNAME: "v0", IFLA_LINK: 2 });
    expect(link.unknown?.map(({ type, bytes }) => [type, bytes.toHex()])).toEqual([
      [13, "e8030000"],
      [6, "6e6f717565756500"],
    ]);
    expect(decode(linkMessage, encode(linkMessage, link))).toEqual(link);
    expect(linkMessage.read(bytesOf(answer), 0, bytesOf(answer).length, "skip").unknown).toBeUndefined();
  });
});

describe("addresses", () => {
  const v4: Address = {
    dev: "v0",
    ip: "10.0.0.1",
    length: 24,
    scope: "global",
    noPrefixRoute: true,
    noDad: false,
  };
  const v6: Address = {
    dev: "v0",
    ip: "fd00::1",
    length: 64,
    scope: "global",
    noPrefixRoute: false,
    noDad: true,
  };

  test("ip addr add 10.0.0.1/24 dev v0 noprefixroute", () => {
    const hex = "0218000003000000 080002000a000001 0800080000020000 080001000a000001";
    expectBothWays(addressMessage, hex, { ifa_index: 3, IFA_LOCAL: "10.0.0.1", IFA_FLAGS: 0x200 });
    expectSameMeaning(addressMessage, hex, fromAddress(v4, 3));
  });

  test("ip addr add fd00::1/64 dev v0 nodad", () => {
    const hex = `0a40020003000000
      14000200fd000000000000000000000000000001
      14000100fd000000000000000000000000000001`;
    expectBothWays(addressMessage, hex, { ifa_flags: 2, IFA_LOCAL: "fd00::1", IFA_ADDRESS: "fd00::1" });
    expect(toAddress(decode(addressMessage, encode(addressMessage, fromAddress(v6, 3))), "v0")).toEqual(v6);
  });

  test("ip addr show dev v0: IPv4", () => {
    const hex = `0218800003000000
      080001000a000001 080002000a000001 0700030076300000 0800080080020000
      14000600ffffffffffffffffdc5a0400dc5a0400`;
    expect(toAddress(decode(addressMessage, bytesOf(hex)), "v0")).toEqual(v4);
  });

  test("ip addr show dev v0: IPv6", () => {
    const hex = `0a40820003000000
      14000100fd000000000000000000000000000001
      14000600ffffffffffffffffde5a0400de5a0400
      0800080082000000`;
    expect(toAddress(decode(addressMessage, bytesOf(hex)), "v0")).toEqual(v6);
  });
});

describe("routes", () => {
  test("ip route add 10.2.0.0/16 dev v0 table 18099 proto 118 src 10.0.0.1 mtu 1340 advmss 1300", () => {
    const hex = `021000000076fd0100000000
      080001000a020000
      08000f00b3460000
      080007000a000001
      0800040003000000
      14000800 080002003c050000 0800080014050000`;
    expectBothWays(routeMessage, hex, {
      RTA_TABLE: 18099,
      RTA_METRICS: { RTAX_MTU: 1340, RTAX_ADVMSS: 1300 },
    });
    const route: Route = {
      family: 4,
      table: 18099,
      type: "unicast",
      dst: "10.2.0.0/16",
      dev: "v0",
      scope: "link",
      protocol: 118,
      src: "10.0.0.1",
      metrics: { mtu: 1340, advmss: 1300 },
    };
    expectSameMeaning(routeMessage, hex, fromRoute(route, 3));
    // ip route show table 18099
    const answer = `02100000fc76fd0100000000
      08000f00b3460000
      080001000a020000
      14000800080002003c0500000800080014050000
      080007000a000001
      0800040003000000`;
    expect(toRoute(decode(routeMessage, bytesOf(answer)), 4, "v0")).toEqual(route);
  });

  test("ip -6 route add fd02::/48 via fd00::2 dev v0 table 18099 proto 118 metric 50", () => {
    const hex = `0a3000000076000100000000
      14000100fd020000000000000000000000000000
      14000500fd000000000000000000000000000002
      08000f00b3460000
      0800060032000000
      0800040003000000`;
    const route: Route = {
      family: 6,
      table: 18099,
      type: "unicast",
      dst: "fd02::/48",
      dev: "v0",
      via: "fd00::2",
      scope: "global",
      protocol: 118,
      priority: 50,
    };
    expectBothWays(routeMessage, hex, { RTA_GATEWAY: "fd00::2", RTA_PRIORITY: 50 });
    expectSameMeaning(routeMessage, hex, fromRoute(route, 3));
    // ip -6 route show table 18099
    const answer = `0a300000fc76000100000000
      08000f00b3460000
      14000100fd020000000000000000000000000000
      0800060032000000
      14000500fd000000000000000000000000000002
      0800040003000000
      24000c000000000000000000000000000000000000000000000000000000000000000000
      0500140000000000`;
    expect(toRoute(decode(routeMessage, bytesOf(answer)), 6, "v0")).toEqual(route);
  });

  test("ip route add throw 10.3.0.0/16 table 18099 proto 118", () => {
    const hex = "021000000076000900000000 080001000a030000 08000f00b3460000";
    const route: Route = {
      family: 4,
      table: 18099,
      type: "throw",
      dst: "10.3.0.0/16",
      scope: "global",
      protocol: 118,
    };
    expectBothWays(routeMessage, hex, { rtm_type: 9, RTA_DST: "10.3.0.0" });
    expectSameMeaning(routeMessage, hex, fromRoute(route, undefined));
  });

  // ip -6 route add throw fd03::/64 table 18099 proto 118; ip -6 route show table 18099
  test("an IPv6 route that leads nowhere is read without the loopback device", () => {
    const answer = `0a400000fc76000900000000
      08000f00b3460000
      14000100fd030000000000000000000000000000
      0800060000040000
      0800040001000000
      24000c000000000000000000000000000000000000000000000000000000000000000000
      0500140000000000`;
    expect(toRoute(decode(routeMessage, bytesOf(answer)), 6, "lo")).toEqual({
      family: 6,
      table: 18099,
      type: "throw",
      dst: "fd03::/64",
      scope: "global",
      protocol: 118,
      priority: 1024,
    } satisfies Route);
  });

  test("ip route add 10.4.0.0/16 via inet6 fd00::2 dev v0", () => {
    const hex = `02100000fe03000100000000
      080001000a040000
      160012000a00fd0000000000000000000000000000020000
      0800040003000000`;
    const route: Route = {
      family: 4,
      table: 254,
      type: "unicast",
      dst: "10.4.0.0/16",
      dev: "v0",
      via: "fd00::2",
      scope: "global",
      protocol: 3,
    };
    expectBothWays(routeMessage, hex, { RTA_VIA: "fd00::2" });
    const { RTA_TABLE, ...message } = fromRoute(route, 3);
    expect(RTA_TABLE).toBe(254);
    expectSameMeaning(routeMessage, hex, message);
  });

  test("ip route add 10.5.0.0/16 mtu lock 1350 nexthop via 10.0.0.2 dev v0 nexthop via 10.0.0.3 dev v0", () => {
    const hex = `02100000fe03000100000000
      080001000a050000
      14000800 0800020046050000 0800010004000000
      24000900 1000000003000000 080005000a000002 1000000003000000 080005000a000003`;
    expectBothWays(routeMessage, hex, {
      RTA_METRICS: { RTAX_MTU: 1350, unknown: [{ type: 1, bytes: bytesOf("04000000") }] },
      RTA_MULTIPATH: bytesOf("1000000003000000080005000a000002 1000000003000000080005000a000003"),
    });
  });

  test("ip route add default via 169.254.1.1 dev v0 onlink", () => {
    const hex = "02000000fe03000104000000 08000500a9fe0101 0800040003000000";
    expectBothWays(routeMessage, hex, { rtm_flags: 4, RTA_GATEWAY: "169.254.1.1" });
    expect(toRoute(decode(routeMessage, bytesOf(hex)), 4, "v0")).toEqual({
      family: 4,
      table: 254,
      type: "unicast",
      dst: "0.0.0.0/0",
      dev: "v0",
      via: "169.254.1.1",
      scope: "global",
      protocol: 3,
      onlink: true,
    } satisfies Route);
  });
});

describe("rules", () => {
  test("ip rule add not fwmark 0x100000/0x100000 lookup 18099 priority 99 protocol 118", () => {
    const hex = `020000000000000102000000
      08000a0000001000
      0800100000001000
      08000f00b3460000
      0800060063000000
      0500150076000000`;
    const rule: Rule = {
      ...{
        family: 4,
        priority: 99,
        action: "lookup",
        invert: true,
        table: 18099,
        fwmark: mark,
        protocol: 118,
      },
    };
    expectBothWays(ruleMessage, hex, { flags: 2, FRA_FWMARK: 0x100000, FRA_FWMASK: 0x100000 });
    expectSameMeaning(ruleMessage, hex, fromRule(rule));
    // ip rule show
    const answer = `02000000fc00000102000000
      08000f00b3460000
      08000e00ffffffff
      0500150076000000
      0800060063000000
      08000a0000001000
      0800100000001000`;
    expect(toRule(decode(ruleMessage, bytesOf(answer)))).toEqual(rule);
  });

  test("ip rule add priority 97 fwmark 0x100000/0x100000 goto 100 protocol 118", () => {
    const hex = `020000000000000200000000
      0800060061000000
      08000a0000001000
      0800100000001000
      0800040064000000
      0500150076000000`;
    const rule: Rule = {
      family: 4,
      priority: 97,
      action: "goto",
      invert: false,
      target: 100,
      fwmark: mark,
      protocol: 118,
    };
    expectBothWays(ruleMessage, hex, { action: 2, FRA_GOTO: 100 });
    expectSameMeaning(ruleMessage, hex, fromRule(rule));
  });

  test("ip -6 rule add priority 98 not iif lo to fd02::/48 lookup 18098 protocol 118", () => {
    const hex = `0a3000000000000102000000
      0800060062000000
      070003006c6f0000
      14000100fd020000000000000000000000000000
      08000f00b2460000
      0500150076000000`;
    const rule: Rule = {
      ...{
        family: 6,
        priority: 98,
        action: "lookup",
        invert: true,
        table: 18098,
        iif: "lo",
        dst: "fd02::/48",
      },
      protocol: 118,
    };
    expectBothWays(ruleMessage, hex, { dst_len: 48, FRA_IIFNAME: "lo", FRA_DST: "fd02::" });
    expectSameMeaning(ruleMessage, hex, fromRule(rule));
    expect(toRule(decode(ruleMessage, bytesOf(hex)))).toEqual(rule);
  });
});

describe("neighbours", () => {
  const neighbour = { dev: "v0", ip: "10.0.0.2", mac: "02:00:00:00:00:09", permanent: true };

  test("ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:09 dev v0 nud permanent", () => {
    const hex = "020000000300000080000000 080001000a000002 0a0002000200000000090000";
    expectBothWays(neighbourMessage, hex, { ndm_ifindex: 3, ndm_state: 0x80, NDA_LLADDR: neighbour.mac });
    expectSameMeaning(neighbourMessage, hex, fromNeighbour(neighbour, 3));
  });

  test("ip neigh show dev v0", () => {
    const hex = `020000000300000080000001
      080001000a000002
      0a0002000200000000090000
      0800040000000000
      1400030008000000080000000800000000000000`;
    expect(toNeighbour(decode(neighbourMessage, bytesOf(hex)), "v0")).toEqual(neighbour);
  });
});
