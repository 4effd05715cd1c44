// The userspace API's text, and how a change of a device is cut into messages.
// Made by hand from wireguard.com/xplatform; what wireguard-go really answers is in test/kernel.
import { describe, expect, test } from "bun:test";
import type { DeviceConfig, Peer, PeerConfig } from "../../src/net/device.ts";
import { zeroKey } from "../../src/net/key.ts";
import { deviceMessage } from "../../src/wire/wireguard.ts";
import { toMessage } from "../../src/wireguard/kernel.ts";
import { splitConfig } from "../../src/wireguard/split.ts";
import {
  formatSet,
  GetParser,
  type PeersByText,
  parseErrno,
  UapiTextError,
} from "../../src/wireguard/text.ts";
import { encode } from "./bytes.ts";
import { random } from "./random.ts";

const key = (n: number) => {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, n + 1);
  return bytes.toBase64();
};
const hex = (n: number) => Uint8Array.fromBase64(key(n)).toHex();

describe("set", () => {
  test("everything that can be set", () => {
    const config: DeviceConfig = {
      privateKey: key(0),
      listenPort: 51820,
      fwmark: 0x100000,
      replacePeers: true,
      peers: [
        {
          publicKey: key(1),
          updateOnly: true,
          presharedKey: zeroKey,
          endpoint: { ip: "2001:db8::1", port: 1 },
          keepaliveSeconds: 0,
          replaceAllowedIPs: true,
          allowedIPs: ["10.0.0.0/8", "fd00::/64"],
        },
        { publicKey: key(2), remove: true, allowedIPs: ["10.0.0.0/8"] },
      ],
    };
    expect(formatSet(config).split("\n")).toEqual([
      "set=1",
      `private_key=${hex(0)}`,
      "listen_port=51820",
      "fwmark=1048576",
      "replace_peers=true",
      `public_key=${hex(1)}`,
      "update_only=true",
      `preshared_key=${"0".repeat(64)}`,
      "endpoint=[2001:db8::1]:1",
      "persistent_keepalive_interval=0",
      "replace_allowed_ips=true",
      "allowed_ip=10.0.0.0/8",
      "allowed_ip=fd00::/64",
      `public_key=${hex(2)}`,
      "remove=true",
      "",
      "",
    ]);
  });

  test("what is absent is left alone", () => {
    expect(formatSet({})).toBe("set=1\n\n");
    expect(formatSet({ peers: [{ publicKey: key(1) }] })).toBe(`set=1\npublic_key=${hex(1)}\n\n`);
  });
});

const parseGet = (name: string, answer: string) =>
  new GetParser(name, new Map()).finish(new TextEncoder().encode(answer));

describe("get", () => {
  const answer = [
    `private_key=${hex(0)}`,
    "listen_port=51820",
    "fwmark=1048576",
    `public_key=${hex(1)}`,
    `preshared_key=${"0".repeat(64)}`,
    "protocol_version=1",
    "endpoint=192.0.2.1:51820",
    "last_handshake_time_sec=1763683200",
    "last_handshake_time_nsec=123456789",
    "tx_bytes=5",
    "rx_bytes=6",
    "persistent_keepalive_interval=25",
    "allowed_ip=10.244.1.0/24",
    "allowed_ip=::ffff:192.0.2.1/128",
    `public_key=${hex(2)}`,
    `preshared_key=${hex(9)}`,
    "endpoint=[fe80::1%eth0]:7",
    "errno=0",
    "",
    "",
  ].join("\n");

  test("a device with peers", () => {
    expect(parseGet("wg0", answer)).toEqual({
      errno: 0,
      device: {
        name: "wg0",
        backend: "userspace",
        privateKey: key(0),
        listenPort: 51820,
        fwmark: 0x100000,
        peers: [
          {
            publicKey: key(1),
            endpoint: { ip: "192.0.2.1", port: 51820 },
            hasPresharedKey: false,
            keepaliveSeconds: 25,
            lastHandshakeMs: 1763683200123,
            rxBytes: 6,
            txBytes: 5,
            allowedIPs: ["10.244.1.0/24", "::ffff:c000:201/128"],
          },
          {
            publicKey: key(2),
            endpoint: { ip: "fe80::1", port: 7 },
            hasPresharedKey: true,
            keepaliveSeconds: 0,
            lastHandshakeMs: 0,
            rxBytes: 0,
            txBytes: 0,
            allowedIPs: [],
          },
        ],
      },
    });
  });

  test("an error", () => {
    expect(parseErrno("errno=-22\n\n")).toBe(22);
    expect(parseGet("wg0", "errno=5\n\n").errno).toBe(5);
  });

  test("an answer cut off anywhere is refused", () => {
    for (let length = 0; length < answer.length - 2; length++)
      expect(() => parseGet("wg0", answer.slice(0, length))).toThrow(UapiTextError);
    expect(() => parseErrno("")).toThrow(UapiTextError);
  });
});

describe("an answer that arrives in pieces", () => {
  const block = (n: number, bytes = 0) =>
    `public_key=${hex(n)}\npreshared_key=${"0".repeat(64)}\nrx_bytes=${bytes}\nallowed_ip=10.0.${n}.0/24\n`;
  const answer = (...blocks: string[]) => `listen_port=51820\n${blocks.join("")}errno=0\n\n`;
  const read = (text: string, known = new Map() as PeersByText, size = text.length) => {
    const parser = new GetParser("wg0", known);
    const bytes = new TextEncoder().encode(text);
    let from = 0;
    for (let to = size; to < bytes.length; to += size) from += parser.take(bytes.subarray(from, to));
    const { device } = parser.finish(bytes.subarray(from));
    return { device, byText: parser.byText };
  };

  test("is the same device, wherever it is cut", () => {
    const text = answer(block(1), block(2), block(3, 7));
    for (let size = 1; size < text.length; size++)
      expect(read(text, undefined, size).device).toEqual(read(text).device);
  });

  test("has the same objects for peers whose text is as it was, in any order", () => {
    const before = read(answer(block(1), block(2), block(3), block(4)));
    const after = read(answer(block(3), block(1, 9), block(2), block(5)), before.byText);
    const [first, changed, third, last] = after.device.peers;
    expect(first).toBe(before.device.peers[2] as Peer);
    expect(third).toBe(before.device.peers[1] as Peer);
    expect(changed).toEqual({ ...(before.device.peers[0] as Peer), rxBytes: 9 });
    expect(last?.publicKey).toBe(key(5));
    expect(after.device).toEqual(read(answer(block(3), block(1, 9), block(2), block(5))).device);
  });
});

describe("splitting", () => {
  const ips = (count: number, from = 0) =>
    Array.from(
      { length: count },
      (_, i) => `fd00:${((from + i) >> 16).toString(16)}:${((from + i) & 0xffff).toString(16)}::/48`,
    );

  /** Returns the device after the parts were applied one after another, as the kernel does it. */
  function apply(parts: readonly DeviceConfig[]): Map<string, string[]> {
    const device = new Map([[key(999_999), ["10.9.9.0/24"]]]);
    for (const part of parts) {
      if (part.replacePeers) device.clear();
      for (const peer of part.peers ?? []) {
        const before = peer.replaceAllowedIPs ? [] : (device.get(peer.publicKey) ?? []);
        device.set(peer.publicKey, [...before, ...(peer.allowedIPs ?? [])]);
      }
    }
    return device;
  }

  test("one message if it fits, even with nothing in it", () => {
    expect(splitConfig({ listenPort: 1 })).toEqual([{ listenPort: 1, peers: [] }]);
    const peers = [{ publicKey: key(1), allowedIPs: ips(3) }];
    expect(splitConfig({ peers })).toEqual([{ peers }]);
  });

  test("a peer goes on without being replaced again, but still only if it exists", () => {
    const peer = {
      publicKey: key(1),
      updateOnly: true,
      keepaliveSeconds: 5,
      replaceAllowedIPs: true,
      allowedIPs: ips(2000),
    };
    const parts = splitConfig({ replacePeers: true, privateKey: key(0), peers: [peer] });
    expect(parts.length).toBe(2);
    expect(Object.keys(parts[1] as object)).toEqual(["peers"]);
    const rest = parts[1]?.peers?.[0] as PeerConfig;
    expect({ ...rest, allowedIPs: [] }).toEqual({ publicKey: key(1), updateOnly: true, allowedIPs: [] });
  });

  test("any parts amount to the whole, and none is over the kernel's limit", () => {
    const below = random(3);
    for (let i = 0; i < 200; i++) {
      const peers = Array.from({ length: below(60) }, (_, n) => ({
        publicKey: key(n),
        presharedKey: key(500),
        endpoint: { ip: "2001:db8::1", port: 51820 },
        keepaliveSeconds: 25,
        replaceAllowedIPs: true,
        allowedIPs: ips(below(below(10) === 0 ? 400 : 5), n * 1000),
      }));
      const limit = 400 + below(5000);
      const parts = splitConfig({ replacePeers: true, peers }, limit);
      expect(apply(parts)).toEqual(new Map(peers.map((peer) => [peer.publicKey, peer.allowedIPs])));
      for (const part of parts) {
        // 4 (genlmsghdr) + 8 (name) + 8 (flags) + 4 (nest) come on top.
        expect(encode(deviceMessage, toMessage("wg0", part)).length).toBeLessThanOrEqual(limit + 24);
      }
    }
  });

  test("100,000 allowed IPs on one peer", () => {
    const peers = [{ publicKey: key(1), replaceAllowedIPs: true, allowedIPs: ips(100_000) }];
    const parts = splitConfig({ peers });
    expect(apply(parts).get(key(1))).toEqual(ips(100_000));
    for (const part of parts) encode(deviceMessage, toMessage("wg0", part));
  });
});
