// Our generic netlink against the kernel's WireGuard, inside the virtual
// machine. The witness is `wg show dump`: what we wrote it must show, and what
// it shows we must have read.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { DeviceConfig, PeerConfig } from "../../../src/net/device.ts";
import { formatKey } from "../../../src/net/key.ts";
import { Rtnl } from "../../../src/netlink/rtnl.ts";
import type { WireGuard } from "../../../src/wireguard/backend.ts";
import { openKernelWireGuard } from "../../../src/wireguard/kernel.ts";

const device = "wgt0";
let rtnl: Rtnl;
let wireguard: WireGuard;

beforeEach(() => {
  rtnl = Rtnl.open();
  const opened = openKernelWireGuard();
  if (opened === undefined) throw new Error("this kernel has no WireGuard");
  wireguard = opened;
  expect(rtnl.batch().addLink({ kind: "wireguard", name: device, mtu: 1400 }).send()).toEqual([undefined]);
});

afterEach(() => {
  rtnl.batch().deleteLink(device).send();
  rtnl[Symbol.dispose]();
  wireguard[Symbol.dispose]();
});

describe("devices", () => {
  test("are made with their MTU, set up, found and deleted", () => {
    expect(rtnl.findLink(device)).toMatchObject({ kind: "wireguard", mtu: 1400, up: false });
    expect(rtnl.batch().changeLink(device, { up: true, mtu: 1380 }).send()).toEqual([undefined]);
    expect(rtnl.findLink(device)).toMatchObject({ mtu: 1380, up: true });
    expect(rtnl.batch().deleteLink(device).send()).toEqual([undefined]);
    expect(rtnl.findLink(device)).toBeUndefined();
    expect(wireguard.read(device)).toBeUndefined();
  });

  test("are refused a second time under the same name", () => {
    const [refusal] = rtnl.batch().addLink({ kind: "wireguard", name: device }).send();
    expect(refusal?.message).toContain("EEXIST");
  });

  test("without a key show none", () => {
    const read = wireguard.read(device);
    expect(read).toEqual({ name: device, backend: "kernel", listenPort: 0, fwmark: 0, peers: [] });
  });

  test("take key, port and mark, and keep what a change does not name", () => {
    const privateKey = wg(["genkey"]);
    wireguard.configure(device, { privateKey, listenPort: 51820, fwmark: 0x100000 });
    const publicKey = wg(["pubkey"], privateKey);
    expect(dump()).toEqual([[privateKey, publicKey, "51820", "0x100000"]]);
    expect(wireguard.read(device)).toMatchObject({
      privateKey,
      publicKey,
      listenPort: 51820,
      fwmark: 0x100000,
    });
    wireguard.configure(device, { fwmark: 0 });
    expect(dump()).toEqual([[privateKey, publicKey, "51820", "off"]]);
  });

  test("of another kind are an error", () => {
    rtnl
      .batch()
      .addLink({ kind: "veth", name: "wgt1", peer: { name: "wgt2" } })
      .send();
    expect(() => wireguard.read("wgt1")).toThrow("EOPNOTSUPP");
    rtnl.batch().deleteLink("wgt1").send();
  });
});

describe("peers", () => {
  test("take everything a peer can have, and give it back", () => {
    const peer = {
      publicKey: keyOf(1),
      presharedKey: keyOf(2),
      endpoint: { ip: "2001:db8::7", port: 51821 },
      keepaliveSeconds: 25,
      allowedIPs: ["10.244.1.0/24", "fd00:1::/64", "192.0.2.1/32"],
    };
    configureAndCompare({ peers: [peer] });
    configureAndCompare({
      peers: [
        { publicKey: peer.publicKey, presharedKey: formatKey(new Uint8Array(32)), keepaliveSeconds: 0 },
      ],
    });
    expect(dump()[1]?.slice(1)).toEqual([
      "(none)",
      "[2001:db8::7]:51821",
      "10.244.1.0/24,fd00:1::/64,192.0.2.1/32",
      ...["0", "0", "0", "off"],
    ]);
  });

  test("are removed one by one, not made by an update, and replaced as a whole", () => {
    configureAndCompare({ peers: [peerOf(1), peerOf(2), peerOf(3)] });
    configureAndCompare({ peers: [{ publicKey: keyOf(2), remove: true }] });
    configureAndCompare({ peers: [{ ...peerOf(4), updateOnly: true }] });
    expect(publicKeys()).toEqual([keyOf(1), keyOf(3)].sort());
    configureAndCompare({ replacePeers: true, peers: [peerOf(5)] });
    expect(publicKeys()).toEqual([keyOf(5)]);
    configureAndCompare({ replacePeers: true, peers: [] });
    expect(publicKeys()).toEqual([]);
  });

  test("hand an allowed IP over to the peer that asks for it last", () => {
    configureAndCompare({ peers: [{ publicKey: keyOf(1), allowedIPs: ["10.1.0.0/16", "10.2.0.0/16"] }] });
    configureAndCompare({ peers: [{ publicKey: keyOf(2), allowedIPs: ["10.2.0.0/16"] }] });
    expect(allowedIPs(keyOf(1))).toEqual(["10.1.0.0/16"]);
    configureAndCompare({
      peers: [{ publicKey: keyOf(2), replaceAllowedIPs: true, allowedIPs: ["10.3.0.0/16"] }],
    });
    expect(allowedIPs(keyOf(2))).toEqual(["10.3.0.0/16"]);
  });
});

describe("messages", () => {
  test("carry 1,000 peers with IPv4 and IPv6", () => {
    const peers = Array.from({ length: 1000 }, (_, i) => peerOf(i));
    configureAndCompare({ replacePeers: true, peers });
    const read = wireguard.read(device)?.peers ?? [];
    const asked = read.map(({ publicKey, endpoint, keepaliveSeconds, allowedIPs }) => ({
      ...{ publicKey, endpoint, keepaliveSeconds },
      allowedIPs: sorted(allowedIPs),
    }));
    expect(byKey(asked)).toEqual(byKey(peers));
  });

  test("carry one peer with 20,000 allowed IPs", () => {
    const many = Array.from({ length: 20_000 }, (_, i) => `10.${i >> 8}.${i & 255}.1/32`);
    configureAndCompare({ peers: [peerOf(1), { publicKey: keyOf(2), allowedIPs: ["192.0.2.9/32"] }] });
    const before = wireguard.writes;
    const big = { publicKey: keyOf(2), replaceAllowedIPs: true, allowedIPs: many };
    configureAndCompare({ peers: [big, peerOf(3)] });
    expect(wireguard.writes - before).toBeGreaterThan(1);
    expect(allowedIPs(keyOf(2))).toEqual(sorted(many));
    expect(publicKeys()).toEqual([keyOf(1), keyOf(2), keyOf(3)].sort());
  });
});

/** Applies a change; what we read of the peers afterwards must be what `wg` shows. */
function configureAndCompare(config: DeviceConfig): void {
  wireguard.configure(device, config);
  const shown = dump()
    .slice(1)
    .map(([publicKey = "", preshared, endpoint, ips, , , , keepalive]) => [
      publicKey,
      preshared !== "(none)",
      endpoint,
      sorted(ips === "(none)" ? [] : ips!.split(",")),
      keepalive === "off" ? 0 : Number(keepalive),
    ]);
  const read = wireguard
    .read(device)
    ?.peers.map((peer) => [
      peer.publicKey,
      peer.hasPresharedKey,
      peer.endpoint === undefined ? "(none)" : endpointText(peer.endpoint),
      sorted(peer.allowedIPs),
      peer.keepaliveSeconds,
    ]);
  expect<unknown>(read).toEqual(shown);
}

function endpointText({ ip, port }: { ip: string; port: number }): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function publicKeys(): string[] {
  return sorted(wireguard.read(device)?.peers.map((peer) => peer.publicKey));
}

function allowedIPs(publicKey: string): string[] {
  return sorted(wireguard.read(device)?.peers.find((peer) => peer.publicKey === publicKey)?.allowedIPs);
}

function sorted(texts: readonly string[] | undefined): string[] {
  return [...(texts ?? [])].sort();
}

function byKey<T extends { publicKey: string }>(peers: readonly T[]): Record<string, T> {
  return Object.fromEntries(peers.map((peer) => [peer.publicKey, peer]));
}

/** Lines and fields of `wg show DEVICE dump`; the first line is the device's. */
function dump(): string[][] {
  return wg(["show", device, "dump"])
    .split("\n")
    .map((line) => line.split("\t"));
}

function wg(argv: string[], input = ""): string {
  const done = Bun.spawnSync(["wg", ...argv], { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`wg ${argv[0]} failed: ${done.stderr}`);
  return done.stdout.toString().trim();
}

/** A different key for each number; any 32 bytes are a public key. */
function keyOf(n: number): string {
  const bytes = new Uint8Array(32).fill(7);
  new DataView(bytes.buffer).setUint32(0, n + 1);
  return formatKey(bytes);
}

function peerOf(n: number) {
  return {
    publicKey: keyOf(n),
    endpoint: n % 2 === 0 ? { ip: `192.0.2.${n % 256}`, port: 51820 } : { ip: "2001:db8::1", port: 1024 + n },
    keepaliveSeconds: n % 3 === 0 ? 25 : 0,
    allowedIPs: [`10.${n >> 8}.${n & 255}.0/24`, `fd00:${(n + 1).toString(16)}::/64`],
  } satisfies PeerConfig;
}
