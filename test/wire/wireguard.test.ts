// WireGuard's generic netlink messages. Requests are what wg(8) v1.0.20210914
// sent, caught by a library preloaded into it that plays the kernel's part. The
// dump follows the order of the kernel's own writer (drivers/net/wireguard/netlink.c);
// `wg show wg0 dump`, fed the same bytes, printed what is expected here.
import { describe, expect, test } from "bun:test";
import { zeroKey } from "../../src/net/key.ts";
import { hiddenKey } from "../../src/wire/codec.ts";
import { deviceMessage, socketAddress } from "../../src/wire/wireguard.ts";
import { DeviceMerge, toMessage } from "../../src/wireguard/kernel.ts";
import { bytesOf, decode, encode, expectBothWays } from "./bytes.ts";

const textKey = (text: string) => new TextEncoder().encode(text.repeat(8).slice(0, 32)).toBase64();
const countedKey = (from: number) => Uint8Array.from({ length: 32 }, (_, i) => from + i).toBase64();
const [peer1, peer2, peer3] = ["peer-1-", "peer-2-", "peer-3-"].map(textKey) as [string, string, string];

test(`wg set wg0 listen-port 51820 fwmark 0x100000 private-key FILE
  peer 1 preshared-key FILE endpoint 192.0.2.1:51820 persistent-keepalive 25 allowed-ips 10.244.1.0/24,192.0.2.1/32,fd00:1::/64
  peer 2 endpoint [2001:db8::1]:51821
  peer 3 remove`, () => {
  const sent = bytesOf(`01010000
    0800020077673000                                                              # IFNAME
    24000300 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20     # PRIVATE_KEY
    060006006cca0000                                                              # LISTEN_PORT
    0800070000001000                                                              # FWMARK
    50010880                                                                      # PEERS
      d4000080
        24000100 706565722d312d706565722d312d706565722d312d706565722d312d70656572
        24000200 2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40
        14000400 0200ca6cc00002010000000000000000                                 # ENDPOINT
        0600050019000000                                                          # KEEPALIVE
        0800030002000000                                                          # FLAGS
        64000980
          1c000080 0600010002000000 080002000af40100 0500030018000000
          1c000080 0600010002000000 08000200c0000201 0500030020000000
          28000080 060001000a000000 14000200fd000001000000000000000000000000 0500030040000000
      48000080
        24000100 706565722d322d706565722d322d706565722d322d706565722d322d70656572
        20000400 0a00ca6d0000000020010db800000000000000000000000100000000         # ENDPOINT
      30000080
        24000100 706565722d332d706565722d332d706565722d332d706565722d332d70656572
        0800030001000000                                                          # FLAGS`);
  const config = {
    privateKey: countedKey(1),
    listenPort: 51820,
    fwmark: 0x100000,
    peers: [
      {
        publicKey: peer1,
        presharedKey: countedKey(33),
        endpoint: { ip: "192.0.2.1", port: 51820 },
        keepaliveSeconds: 25,
        replaceAllowedIPs: true,
        allowedIPs: ["10.244.1.0/24", "192.0.2.1/32", "fd00:1::/64"],
      },
      { publicKey: peer2, endpoint: { ip: "2001:db8::1", port: 51821 } },
      { publicKey: peer3, remove: true, allowedIPs: ["10.9.0.0/16"] },
    ],
  };
  const ours = encode(deviceMessage, toMessage("wg0", config));
  // Attributes may stand in another order: compare what the bytes mean, and how long they are.
  expect(decode(deviceMessage, ours)).toEqual(decode(deviceMessage, sent));
  expect(ours.length).toBe(sent.length);
});

test("wg show wg0 dump: a peer whose allowed IPs go on in a second message", () => {
  const first = `00010000
    060006006cca0000
    0800070000001000
    0800010007000000
    0800020077673000
    24000300 707269762d707269762d707269762d707269762d707269762d707269762d7072
    24000400 7075626c2d7075626c2d7075626c2d7075626c2d7075626c2d7075626c2d7075
    c0000880
      bc000080
        24000100 706565722d312d706565722d312d706565722d312d706565722d312d70656572
        24000200 7368617265642d7368617265642d7368617265642d7368617265642d73686172
        14000600 80ab1f6900000000 c0d4540700000000                                # 1763683200 s, 123 ms
        0600050019000000
        0c000800 00f2052a01000000
        0c000700 9400000000000000
        08000a0001000000
        14000400 0200ca6cc00002010000000000000000
        20000980
          1c000080 0500030018000000 0600010002000000 080002000af40100`;
  const second = `00010000
    0800020077673000
    04010880
      54000080
        24000100 706565722d312d706565722d312d706565722d312d706565722d312d70656572
        2c000980
          28000080 0500030040000000 060001000a000000 14000200fd000001000000000000000000000000
      ac000080
        24000100 706565722d322d706565722d322d706565722d322d706565722d322d70656572
        24000200 0000000000000000000000000000000000000000000000000000000000000000
        14000600 0000000000000000 0000000000000000
        0600050000000000
        0c000800 0000000000000000
        0c000700 0000000000000000
        08000a0001000000
        20000400 0a00ca6d0000000020010db800000000000000000000000100000000
        04000980`;
  const merge = new DeviceMerge("wg0");
  for (const part of [first, second]) merge.add(decode(deviceMessage, bytesOf(part)));
  expect(merge.device()).toEqual({
    name: "wg0",
    backend: "kernel",
    privateKey: textKey("priv-"),
    publicKey: textKey("publ-"),
    listenPort: 51820,
    fwmark: 0x100000,
    peers: [
      {
        publicKey: peer1,
        endpoint: { ip: "192.0.2.1", port: 51820 },
        hasPresharedKey: true,
        keepaliveSeconds: 25,
        lastHandshakeMs: 1763683200123,
        rxBytes: 148,
        txBytes: 5_000_000_000,
        allowedIPs: ["10.244.1.0/24", "fd00:1::/64"],
      },
      {
        publicKey: peer2,
        endpoint: { ip: "2001:db8::1", port: 51821 },
        hasPresharedKey: false,
        keepaliveSeconds: 0,
        lastHandshakeMs: 0,
        rxBytes: 0,
        txBytes: 0,
        allowedIPs: [],
      },
    ],
  });
});

test("a preshared key is not read out of a message", () => {
  const hex = (key: string) => `00000000 2c000880 28000080 24000200 ${key.repeat(32)}`;
  const read = (key: string) => decode(deviceMessage, bytesOf(hex(key))).WGDEVICE_A_PEERS?.[0];
  expect(read("42")).toEqual({ WGPEER_A_PRESHARED_KEY: hiddenKey });
  expect(read("00")).toEqual({ WGPEER_A_PRESHARED_KEY: zeroKey });
});

describe("endpoints", () => {
  test("struct sockaddr_in", () => {
    expectBothWays(socketAddress, "0200 ca6c c0000201 0000000000000000", { ip: "192.0.2.1", port: 51820 });
  });

  test("struct sockaddr_in6", () => {
    const hex = "0a00 ca6d 00000000 20010db8000000000000000000000001 00000000";
    expectBothWays(socketAddress, hex, { ip: "2001:db8::1", port: 51821 });
  });

  test("anything else is refused", () => {
    expect(() => decode(socketAddress, bytesOf("0100 2f746d702f782e736f636b0000000000"))).toThrow(
      "address family 1",
    );
    expect(() => decode(socketAddress, bytesOf("0200 ca6c"))).toThrow("has 4 bytes");
    expect(() => decode(socketAddress, bytesOf("0a00 ca6d c0000201 0000000000000000"))).toThrow(
      "has 16 bytes, not 28",
    );
    expect(() => encode(socketAddress, { ip: "192.0.2.1", port: 65536 })).toThrow(RangeError);
  });
});
