// struct sockaddr_in and sockaddr_in6, field by field as ip(7) and ipv6(7) lay them out.
import { expect, test } from "bun:test";
import { encodeInetAddress } from "../../src/wire/inet-address.ts";

test.each([
  ["192.0.2.1", 6443, "0200 192b c0000201 0000000000000000"],
  ["127.0.0.1", 1, "0200 0001 7f000001 0000000000000000"],
  ["2001:db8::1", 443, "0a00 01bb 00000000 20010db8000000000000000000000001 00000000"],
  ["::", 65535, "0a00 ffff 00000000 00000000000000000000000000000000 00000000"],
])("%s port %i", (ip, port, hex) => {
  expect(encodeInetAddress({ ip, port }).toHex()).toBe(hex.replaceAll(" ", ""));
});
