// Both WireGuard backends against real devices, with wg(8) as the witness:
// wireguard-go's in a namespace of our own, the kernel's where it has one (in
// the tests' virtual machine). Devices have names of their own, because the
// sockets of wireguard-go are in one directory for all namespaces.
import { afterAll, describe, expect, test } from "bun:test";
import { withNetns } from "../../../src/linux/netns.ts";
import type { DeviceConfig } from "../../../src/net/device.ts";
import { zeroKey } from "../../../src/net/key.ts";
import { Rtnl } from "../../../src/netlink/rtnl.ts";
import type { WireGuard } from "../../../src/wireguard/backend.ts";
import { openKernelWireGuard } from "../../../src/wireguard/kernel.ts";
import { findProgram, StartError, startUserspace } from "../../../src/wireguard/start.ts";
import { openUserspaceWireGuard } from "../../../src/wireguard/uapi.ts";
import { describeKernel, Namespace, removeNamespaces, run } from "../support/namespaces.ts";

const path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
const key = (n: number) => {
  const bytes = new Uint8Array(32).fill(7);
  new DataView(bytes.buffer).setUint32(0, n + 1);
  // As Curve25519 wants private keys: both backends show them so.
  bytes[0] = 8 * (n & 15);
  bytes[31] = 71;
  return bytes.toBase64();
};
const publicKeyOf = (privateKey: string) => {
  const done = Bun.spawnSync(["wg", "pubkey"], { stdin: new TextEncoder().encode(privateKey) });
  return done.stdout.toString().trim();
};

let devices = 0;

interface Device extends Disposable {
  readonly namespace: Namespace;
  readonly name: string;
  readonly wireguard: WireGuard;
  /** Rows of `wg show NAME dump`, without the first column of the device's row. */
  dump(): string[][];
  wg(command: string): void;
}

function makeDevice(backend: "kernel" | "userspace", namespace = new Namespace()): Device {
  const name = `wgt${process.pid}x${++devices}`;
  if (backend === "userspace") withNetns(namespace.path, () => startUserspace(name, { path }));
  using rtnl = Rtnl.open(namespace.path);
  if (backend === "kernel")
    expect(rtnl.batch().addLink({ kind: "wireguard", name }).send()).toEqual([undefined]);
  expect(rtnl.batch().changeLink(name, { up: true }).send()).toEqual([undefined]);
  const wireguard =
    backend === "userspace" ? openUserspaceWireGuard({ publicKeyOf }) : openKernelWireGuard(namespace.path);
  if (wireguard === undefined) throw new Error("the kernel has no WireGuard");
  const wg = (command: string) => run(["ip", "netns", "exec", namespace.name, "wg", ...command.split(" ")]);
  return {
    namespace,
    name,
    wireguard,
    wg,
    dump: () =>
      wg(`show ${name} dump`)
        .trimEnd()
        .split("\n")
        .map((line) => line.split("\t")),
    [Symbol.dispose]() {
      wireguard[Symbol.dispose]();
      // wireguard-go ends with its interface.
      namespace.ip(`link delete ${name}`);
    },
  };
}

afterAll(removeNamespaces);

const noUserspace =
  findProgram(["wireguard-go"], path) === undefined ? "wireguard-go is not installed" : undefined;
const noWg = Bun.which("wg") === null ? "wg (wireguard-tools) is not installed" : undefined;

if (noWg === undefined && noUserspace === undefined) describeKernel("userspace", () => suite("userspace"));
else describeKernel("userspace", () => {}, noWg ?? noUserspace);

// Only the virtual machine has kernel WireGuard for certain: not having it here is no failure.
if (hasKernelWireGuard()) describeKernel("kernel", () => suite("kernel"));
else test.skip("kernel (skipped: this kernel has no WireGuard)", () => {});

function suite(backend: "kernel" | "userspace"): void {
  const peers: NonNullable<DeviceConfig["peers"]> = [
    {
      publicKey: key(1),
      presharedKey: key(9),
      endpoint: { ip: "192.0.2.1", port: 51820 },
      keepaliveSeconds: 25,
      allowedIPs: ["10.244.1.0/24", "192.0.2.1/32", "fd00:1::/64"],
    },
    { publicKey: key(2), endpoint: { ip: "2001:db8::2", port: 51821 }, allowedIPs: ["10.244.2.0/24"] },
    { publicKey: key(3) },
  ];
  const sorted = <T>(items: readonly T[]) =>
    [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

  test("a new device is empty", () => {
    using device = makeDevice(backend);
    const { wireguard, name } = device;
    expect(wireguard.backend).toBe(backend);
    const { listenPort, ...rest } = wireguard.read(name) ?? { listenPort: -1 };
    expect(rest).toEqual({ name, backend, fwmark: 0, peers: [] });
    expect(listenPort).toBeGreaterThanOrEqual(0);
    expect(wireguard.writes).toBe(0);
  });

  test("what is configured is what wg shows, and what is read", () => {
    using device = makeDevice(backend);
    const { wireguard, name } = device;
    wireguard.configure(name, {
      privateKey: key(0),
      listenPort: 51820,
      fwmark: 0x100000,
      replacePeers: true,
      peers,
    });
    const [own, ...shown] = device.dump();
    expect(own).toEqual([key(0), publicKeyOf(key(0)), "51820", "0x100000"]);
    expect(
      sorted(shown.map((row) => [row[0], row[1], row[2], sorted((row[3] ?? "").split(",")).join(), row[7]])),
    ).toEqual(
      sorted([
        [key(1), key(9), "192.0.2.1:51820", "10.244.1.0/24,192.0.2.1/32,fd00:1::/64", "25"],
        [key(2), "(none)", "[2001:db8::2]:51821", "10.244.2.0/24", "off"],
        [key(3), "(none)", "(none)", "(none)", "off"],
      ]),
    );
    const read = wireguard.read(name);
    expect(read).toMatchObject({
      privateKey: key(0),
      publicKey: publicKeyOf(key(0)),
      listenPort: 51820,
      fwmark: 0x100000,
    });
    const statistics = { lastHandshakeMs: 0, rxBytes: 0 };
    const found = (read?.peers ?? []).map((peer) => ({
      ...peer,
      allowedIPs: sorted(peer.allowedIPs),
      txBytes: 0,
    }));
    expect(sorted(found)).toMatchObject(
      sorted([
        {
          ...{
            publicKey: key(1),
            endpoint: { ip: "192.0.2.1", port: 51820 },
            hasPresharedKey: true,
            keepaliveSeconds: 25,
          },
          ...{ ...statistics, allowedIPs: ["10.244.1.0/24", "192.0.2.1/32", "fd00:1::/64"] },
        },
        {
          ...{ publicKey: key(2), endpoint: { ip: "2001:db8::2", port: 51821 }, hasPresharedKey: false },
          ...{ keepaliveSeconds: 0, ...statistics, allowedIPs: ["10.244.2.0/24"] },
        },
        { publicKey: key(3), hasPresharedKey: false, keepaliveSeconds: 0, ...statistics, allowedIPs: [] },
      ]),
    );
    expect(wireguard.writes).toBe(1);
  });

  test("what wg sets is what is read", () => {
    using device = makeDevice(backend);
    const { wireguard, name } = device;
    device.wg(
      `set ${name} listen-port 4711 fwmark 7 peer ${key(4)} endpoint [2001:db8::4]:99 allowed-ips fd04::/48,10.4.0.0/16`,
    );
    const read = wireguard.read(name);
    expect(read).toMatchObject({ listenPort: 4711, fwmark: 7 });
    expect(read?.peers[0]).toMatchObject({ publicKey: key(4), endpoint: { ip: "2001:db8::4", port: 99 } });
    expect(sorted(read?.peers[0]?.allowedIPs ?? [])).toEqual(["10.4.0.0/16", "fd04::/48"]);
  });

  test("changes of one peer leave the other peers and the rest of it alone", () => {
    using device = makeDevice(backend);
    const { wireguard, name } = device;
    wireguard.configure(name, { privateKey: key(0), peers });
    const peer = (n: number) =>
      wireguard.read(name)?.peers.find((candidate) => candidate.publicKey === key(n));
    const [other, before] = [peer(2), peer(1)];

    wireguard.configure(name, { peers: [{ publicKey: key(1), keepaliveSeconds: 0 }] });
    expect(peer(1)).toMatchObject({ keepaliveSeconds: 0, hasPresharedKey: true });
    expect(sorted(peer(1)?.allowedIPs ?? [])).toEqual(sorted(before?.allowedIPs ?? []));
    wireguard.configure(name, { peers: [{ publicKey: key(1), presharedKey: zeroKey }] });
    expect(peer(1)?.hasPresharedKey).toBe(false);
    wireguard.configure(name, {
      peers: [{ publicKey: key(1), replaceAllowedIPs: true, allowedIPs: ["10.9.0.0/16"] }],
    });
    expect(peer(1)?.allowedIPs).toEqual(["10.9.0.0/16"]);
    wireguard.configure(name, { peers: [{ publicKey: key(1), replaceAllowedIPs: true }] });
    expect(peer(1)?.allowedIPs).toEqual([]);
    wireguard.configure(name, {
      peers: [{ publicKey: key(5), updateOnly: true, allowedIPs: ["10.5.0.0/16"] }],
    });
    expect(peer(5)).toBeUndefined();
    expect({ ...peer(2), txBytes: 0 }).toEqual({ ...other, txBytes: 0 } as never);

    // An allowed IP belongs to one peer: giving it to another takes it from the first.
    wireguard.configure(name, { peers: [{ publicKey: key(3), allowedIPs: ["10.244.2.0/24"] }] });
    expect([peer(2)?.allowedIPs, peer(3)?.allowedIPs]).toEqual([[], ["10.244.2.0/24"]]);
    wireguard.configure(name, { peers: [{ publicKey: key(3), remove: true }] });
    expect(device.dump().length).toBe(3);
    wireguard.configure(name, { replacePeers: true });
    expect(device.dump().length).toBe(1);
    expect(wireguard.read(name)?.privateKey).toBe(key(0));
  });

  test("1,000 peers and a peer with 3,000 allowed IPs, set and read in full", () => {
    using device = makeDevice(backend);
    const { wireguard, name } = device;
    const many = Array.from({ length: 1000 }, (_, n) => ({
      publicKey: key(n + 100),
      replaceAllowedIPs: true,
      allowedIPs: [`10.${n >> 8}.${n & 255}.0/24`, `fd00:${(n + 1).toString(16)}::/64`],
    }));
    const long = Array.from({ length: 3000 }, (_, n) => `11.${n >> 8}.${n & 255}.0/24`);
    many.splice(500, 0, { publicKey: key(99), replaceAllowedIPs: true, allowedIPs: long });
    wireguard.configure(name, { replacePeers: true, peers: many });
    const shape = (items: readonly { publicKey: string; allowedIPs: readonly string[] }[]) =>
      new Map(items.map((peer) => [peer.publicKey, sorted(peer.allowedIPs)]));
    expect(shape(wireguard.read(name)?.peers ?? [])).toEqual(shape(many));
    expect(device.dump().length).toBe(1002);
  });

  test("a handshake and what it moved are read", async () => {
    const [here, there] = [new Namespace(), new Namespace()];
    here.ip(`link add eth0 type veth peer name eth0 netns ${there.name}`);
    for (const [namespace, ip] of [
      [here, "192.0.2.1/24"],
      [there, "192.0.2.2/24"],
    ] as const) {
      namespace.ip("link set eth0 up");
      namespace.ip(`addr add ${ip} dev eth0`);
    }
    using a = makeDevice(backend, here);
    using b = makeDevice(backend, there);
    const [privateA, privateB] = [key(20), key(21)];
    const meet = (device: Device, privateKey: string, other: string, ip: string) =>
      device.wireguard.configure(device.name, {
        privateKey,
        listenPort: 51820,
        peers: [{ publicKey: publicKeyOf(other), endpoint: { ip, port: 51820 }, keepaliveSeconds: 1 }],
      });
    meet(b, privateB, privateA, "192.0.2.1");
    meet(a, privateA, privateB, "192.0.2.2");
    const deadline = Date.now() + 8000;
    const peer = () => a.wireguard.read(a.name)?.peers[0];
    while (peer()?.lastHandshakeMs === 0 && Date.now() < deadline) await Bun.sleep(50);
    expect(Math.abs((peer()?.lastHandshakeMs ?? 0) - Date.now())).toBeLessThan(10_000);
    expect(peer()?.txBytes).toBeGreaterThan(0);
  }, 12_000);

  test("several are read at once, in the order of their names, and one that is not there is none", () => {
    const namespace = new Namespace();
    using one = makeDevice(backend, namespace);
    using other = makeDevice(backend, namespace);
    // With a port of its own, or a userspace device has one a moment later, when it has noticed that it is up.
    one.wireguard.configure(one.name, { fwmark: 1, listenPort: 5001, peers: [{ publicKey: key(1) }] });
    other.wireguard.configure(other.name, { fwmark: 2, listenPort: 5002 });
    const read = one.wireguard.readAll([other.name, "none", one.name]);
    expect(read).toEqual([one.wireguard.read(other.name), undefined, one.wireguard.read(one.name)]);
    expect(read.map((device) => device?.fwmark)).toEqual([2, undefined, 1]);
  });

  test("a device that is not there is undefined to read and an error to configure", () => {
    using device = makeDevice(backend);
    expect(device.wireguard.read("none")).toBeUndefined();
    expect(() => device.wireguard.configure("none", { listenPort: 1 })).toThrow(
      "Cannot configure WireGuard device none: ENODEV",
    );
  });

  test("a refusal is a sentence, without keys", () => {
    using device = makeDevice(backend);
    const bad = { peers: [{ publicKey: key(1), presharedKey: key(9), allowedIPs: ["10.0.0.0/33"] }] };
    expect(() => device.wireguard.configure(device.name, bad)).toThrow(
      `Cannot configure WireGuard device ${device.name}: EINVAL (Invalid argument)`,
    );
  });
}

describe("starting a userspace implementation", () => {
  test("says what to install if there is none", () => {
    expect(() => startUserspace("wg0", { path: "/nonexistent" })).toThrow(StartError);
    expect(() => startUserspace("wg0", { path: "/nonexistent" })).toThrow(
      "none of wireguard-go, boringtun-cli, boringtun is in /nonexistent; install one of them",
    );
  });

  test("does not look in relative directories", () => {
    expect(findProgram(["sh"], "bin:.:/nonexistent")).toBeUndefined();
    expect(findProgram(["none", "sh"], ".:/bin")).toBe("/bin/sh");
  });

  test("says how a program ended that does not start", () => {
    expect(() => startUserspace("wg0", { path: "/bin", candidates: ["false"] })).toThrow(
      "Cannot start /bin/false for WireGuard device wg0: it ended with exit code 1",
    );
  });
});

function hasKernelWireGuard(): boolean {
  using wireguard = openKernelWireGuard();
  return wireguard !== undefined;
}
