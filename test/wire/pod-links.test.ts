// The settings of the node's end of a pod's link, as messages.
import { expect, test } from "bun:test";
import { linkMessage } from "../../src/wire/link.ts";
import { bytesOf, decode, encode, expectBothWays } from "./bytes.ts";

test("ip link set dev v0 group 18099", () => {
  expectBothWays(linkMessage, "00000000030000000000000000000000 08001b00b3460000", {
    ifi_index: 3,
    IFLA_GROUP: 18099,
  });
});

// ip(8) has no words for it (net/ipv4/devinet.c, inet_set_link_af); the kernel sends an array instead.
test("rp_filter 1 and accept_redirects 0 are set one by one, and what the kernel sends of them is passed over", () => {
  const IFLA_INET_CONF = { IPV4_DEVCONF_RP_FILTER: 1, IPV4_DEVCONF_ACCEPT_REDIRECTS: 0 };
  const written = encode(linkMessage, { IFLA_AF_SPEC: { AF_INET: { IFLA_INET_CONF } } });
  const hex = "00000000000000000000000000000000 1c001a00 18000200 14000100 0800080001000000 0800040000000000";
  expect(written.toHex()).toBe(bytesOf(hex).toHex());
  const answer = "00000000000000000000000000000000 18001a00 14000200 10000100 010000000000000001000000";
  expect(decode(linkMessage, bytesOf(answer)).IFLA_AF_SPEC).toEqual({ AF_INET: { IFLA_INET_CONF: {} } });
});
