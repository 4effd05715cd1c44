// A sync writes only if something differs, and then puts everything of ours
// right: what other programs left in our tables, and what was altered by hand.
// Nothing else on the host changes, from before `up` until after `down`.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  foreignFacts,
  hostFacts,
  keyOf,
  killBehind,
  missing,
  monitor,
  settledDump,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

describe.skipIf(missing !== undefined)("sync", () => {
  const lab = withLab("repair");
  let n1: Node;
  let n2: Node;
  /** The state before `up`, and as it is meant to be. */
  let untouched: string[];
  let facts: string[];
  let dump: unknown;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    n1.script([
      "ip link add br7 type bridge",
      "ip address add 203.0.113.77/24 dev br7",
      "ip link set br7 up",
      "ip rule add priority 96 from 203.0.113.0/24 lookup 500",
      "ip rule add priority 101 from 203.0.113.0/24 lookup 500",
      "ip -6 rule add priority 200 fwmark 0x4000/0x4000 lookup 500",
      "ip route add 203.0.113.128/25 dev br7 table 500 proto 186",
      "ip -6 route add 2001:db8:7::/64 dev br7 table 18097",
    ]);
    untouched = hostFacts(n1);
    await joinMesh([n1, n2]);
    facts = hostFacts(n1);
    dump = settledDump(n1);
  });
  const firstKey = (dev: "wg-cni-a" | "wg-cni-b") => Object.keys(wgDump(n1)[dev]!.peers)[0]!;

  test("a second one writes nothing: not to the kernel, not to the store", async () => {
    const before = storeFiles();
    const said = await monitor(n1, async () => {
      expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 0, steps: [], failures: [] });
    });
    expect(said).toBe("");
    expect(settledDump(n1)).toEqual(dump);
    expect(hostFacts(n1)).toEqual(facts);
    expect(storeFiles()).toEqual(before);
  });

  test("plan and status write nothing either, and agree that nothing is to be done", async () => {
    const before = storeFiles();
    const said = await monitor(n1, async () => {
      expect(await wgJson<object>(n1, ["plan"])).toEqual({ node: "n1", steps: [] });
      expect((await n1.wg(["status"])).exitCode).toBe(0);
      await wgMust(n1, ["peer", "list"]);
      await wgMust(n1, ["node", "show"]);
    });
    expect(said).toBe("");
    expect(storeFiles()).toEqual(before);
  });

  const damages: readonly [what: string, commands: (keys: { a: string; b: string }) => string[]][] = [
    ["a route is deleted", () => ["ip route delete 10.244.2.0/24 table 18099"]],
    ["an IPv6 route is deleted", () => ["ip -6 route delete fd00:10:244:2::/64 table 18099"]],
    ["a host route is deleted", () => ["ip route delete 192.0.2.2 table 18098"]],
    ["the own throw route is deleted", () => ["ip route delete throw 10.244.1.0/24 table 18099"]],
    ["a table is flushed", () => ["ip route flush table 18099", "ip -6 route flush table 18098"]],
    [
      "a route has another device",
      () => ["ip route change 10.244.2.0/24 dev wg-cni-b table 18099 proto 118"],
    ],
    ["a route has another type", () => ["ip route replace prohibit 10.244.2.0/24 table 18099 proto 118"]],
    ["an IPv6 route has another type", () => ["ip -6 route replace prohibit fd00:10:244:2::/64 table 18099"]],
    ["a route lost its source", () => ["ip route replace 10.244.2.0/24 dev wg-cni-a table 18099 proto 118"]],
    [
      "a route has another protocol",
      () => ["ip route replace 192.0.2.2 dev wg-cni-a table 18098 proto static"],
    ],
    [
      "a route has an MTU",
      () => ["ip route replace 10.244.2.0/24 dev wg-cni-a src 192.0.2.1 mtu 900 table 18099 proto 118"],
    ],
    ["a route has a gateway", () => ["ip route replace 10.244.2.0/24 via 203.0.113.9 dev br7 table 18099"]],
    [
      "foreign routes are in our tables",
      () => [
        "ip route add 198.51.100.0/24 dev br7 table 18099",
        "ip route add default via 203.0.113.9 table 18098",
        "ip -6 route add default dev br7 table 18099",
        "ip -6 route add blackhole 2001:db8:9::/64 table 18098",
      ],
    ],
    [
      "a foreign route with another metric shadows nothing, but is there",
      () => [
        "ip route add 10.244.2.0/24 dev br7 metric 7 table 18099",
        "ip -6 route add fd00:10:244:2::/64 dev br7 metric 7 table 18099",
      ],
    ],
    ["a foreign route is behind ours", () => ["ip route append 10.244.2.0/24 dev br7 table 18099"]],
    [
      "a foreign route of the same key is before ours",
      () => [
        "ip route delete 10.244.2.0/24 table 18099",
        "ip route add 10.244.2.0/24 dev br7 table 18099",
        "ip route append 10.244.2.0/24 dev wg-cni-a src 192.0.2.1 table 18099 proto 118",
      ],
    ],
    [
      "an IPv6 route has a second next hop",
      () => ["ip -6 route append fd00:10:244:2::/64 dev br7 table 18099"],
    ],
    [
      "foreign rules point at our tables",
      () => [
        "ip rule add priority 50 lookup 18099",
        "ip -6 rule add priority 51 from 2001:db8:9::/64 lookup 18098",
        "ip rule add priority 32000 fwmark 0x7 lookup 18098",
      ],
    ],
    [
      "rules are doubled",
      () => [
        "ip rule add priority 99 not iif lo lookup 18098 protocol 118 suppress_prefixlength 0",
        "ip -6 rule add priority 98 lookup 18099",
        "ip rule add priority 100 nop protocol 118 from 203.0.113.0/24",
      ],
    ],
    [
      "rules are deleted",
      () => ["ip rule delete priority 97", "ip rule delete priority 99", "ip -6 rule delete priority 100"],
    ],
    [
      "a rule has another priority",
      () => ["ip rule delete priority 98", "ip rule add priority 103 lookup 18099 protocol 118"],
    ],
    [
      "a rule looks at another mark",
      () => [
        "ip rule delete priority 99",
        "ip rule add priority 99 not fwmark 0x200000/0x200000 lookup 18099 protocol 118",
      ],
    ],
    [
      "an address is deleted",
      () => ["ip address delete 192.0.2.1/32 dev wg-cni-a", "ip address delete 2001:db8::1/128 dev wg-cni-b"],
    ],
    [
      "an address has another length",
      () => ["ip address delete 192.0.2.1/32 dev wg-cni-a", "ip address add 192.0.2.1/24 dev wg-cni-a"],
    ],
    [
      "an address has another scope",
      () => [
        "ip address delete 192.0.2.1/32 dev wg-cni-a",
        "ip address add 192.0.2.1/32 dev wg-cni-a scope link",
      ],
    ],
    [
      "an address brings a prefix route",
      () => ["ip address delete 2001:db8::1/128 dev wg-cni-a", "ip address add 2001:db8::1/128 dev wg-cni-a"],
    ],
    [
      "foreign addresses are on our devices",
      () => [
        "ip address add 198.51.100.9/24 dev wg-cni-a",
        "ip address add 198.51.100.10/32 dev wg-cni-b scope link",
        "ip address add 2001:db8:9::1/64 dev wg-cni-b",
      ],
    ],
    ["a device is down", () => ["ip link set wg-cni-a down"]],
    ["a device has another MTU", () => ["ip link set wg-cni-b mtu 1300"]],
    ["sysctls are altered", () => ["echo 1 >/proc/sys/net/ipv4/conf/wg-cni-a/rp_filter"]],
    ["a peer is removed", ({ a }) => [`wg set wg-cni-a peer ${a} remove`]],
    [
      "a peer is added",
      () => [`wg set wg-cni-b peer ${keyOf(9)} allowed-ips 10.99.0.0/16 endpoint 192.0.2.9:1`],
    ],
    [
      "an unknown peer took a peer's allowed IPs",
      () => [`wg set wg-cni-a peer ${keyOf(9)} allowed-ips 10.244.2.0/24`],
    ],
    ["a peer lost allowed IPs", ({ a }) => [`wg set wg-cni-a peer ${a} allowed-ips 10.244.2.0/24`]],
    [
      "a peer has more allowed IPs",
      ({ b }) => [`wg set wg-cni-b peer ${b} allowed-ips 10.244.2.0/24,0.0.0.0/0,::/0`],
    ],
    ["a peer has a keepalive", ({ a }) => [`wg set wg-cni-a peer ${a} persistent-keepalive 21`]],
    [
      "a peer has a preshared key",
      ({ a }) => [`wg genpsk >/run/psk`, `wg set wg-cni-a peer ${a} preshared-key /run/psk`],
    ],
    ["a device has another key", () => ["wg genkey >/run/key", "wg set wg-cni-a private-key /run/key"]],
    ["a device listens elsewhere", () => ["wg set wg-cni-a listen-port 40000 fwmark 0x7"]],
    [
      "a device without WireGuard configuration",
      ({ b }) => [`wg set wg-cni-b private-key /dev/null listen-port 0 fwmark 0 peer ${b} remove`],
    ],
    ["a device is gone", () => ["ip link delete wg-cni-b"]],
    ["the process behind a device is killed", () => [killBehind("wg-cni-a")]],
    [
      "a foreign route differs in its type of service",
      () => ["ip route add 10.244.2.0/24 tos 0x10 dev br7 table 18099"],
    ],
    [
      "a rule was given a selector that we never use",
      () => [
        "ip rule delete priority 98",
        "ip rule add priority 99 not iif lo lookup 18098 protocol 118 suppress_prefixlength 0",
      ],
    ],
  ];

  test.each(damages)("repairs: %s", async (_, commands) => {
    n1.script(commands({ a: firstKey("wg-cni-a"), b: firstKey("wg-cni-b") }));
    expect([hostFacts(n1), settledDump(n1)]).not.toEqual([facts, dump]);
    expect((await n1.wg(["status"])).exitCode).toBe(3);
    const report = await wgJson(n1, ["sync"]);
    expect(report.failures).toEqual([]);
    expect(hostFacts(n1)).toEqual(facts);
    expect(settledDump(n1)).toEqual(dump);
    expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 0, steps: [] });
  });

  test("repairs an endpoint that was set by hand", async () => {
    n1.must(["wg", "set", "wg-cni-b", "peer", firstKey("wg-cni-b"), "endpoint", "192.0.2.99:9"]);
    expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 1 });
    expect(settledDump(n1)).toEqual(dump);
  });

  test("what other programs have was never touched, and the mesh works", async () => {
    expect(foreignFacts(n1)).toEqual(untouched);
    n2.script([
      "ip link add pod0 type bridge",
      "ip address add 10.244.2.9/32 dev pod0",
      "ip link set pod0 up",
    ]);
    expect(await ping(n1, "10.244.2.9")).toMatchObject({ received: 3 });
  });

  test("down leaves the host exactly as it was before up", async () => {
    await wgMust(n1, ["down"]);
    expect(hostFacts(n1)).toEqual(untouched);
  });

  /** Content and time of change of everything in the state directory. */
  function storeFiles(): [name: string, hash: bigint | number, changed: number][] {
    const directory = n1.outsidePath(n1.stateDir);
    return readdirSync(directory)
      .sort()
      .filter((name) => !name.endsWith("-shm"))
      .map((name) => [
        name,
        Bun.hash(readFileSync(`${directory}/${name}`)),
        statSync(`${directory}/${name}`).mtimeMs,
      ]);
  }
});
