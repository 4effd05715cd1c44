// `up` and `peer import` on three nodes: what is there afterwards is what the
// design says, seen through ip and wg, over an IPv4 and over an IPv6 underlay.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  devices,
  importPeers,
  ipJson,
  missing,
  routeLines,
  ruleLines,
  tables,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

/** The IPv6 header is 20 bytes longer, and so is what the tunnel takes from the uplink's 1500. */
const underlays = [
  { family: 4, mtu: 1440 },
  { family: 6, mtu: 1420 },
] as const;

describe.skipIf(missing !== undefined).each(underlays)("mesh over IPv$family", ({ family, mtu }) => {
  const lab = withLab(`up${family}`);
  let nodes: Node[];
  let n1: Node;
  let records: NodeRecord[];

  beforeAll(async () => {
    nodes = [];
    for (const index of [1, 2, 3]) nodes.push(await addNode(lab, index));
    n1 = nodes[0]!;
    records = await Promise.all(
      nodes.map(async (node) => {
        const ips = node.nodeIps.flatMap((ip) => ["--node-ip", ip]);
        const cidrs = node.podCidrs.flatMap((cidr) => ["--pod-cidr", cidr]);
        await wgMust(node, ["up", "--node", node.name, "--endpoint", node.ip(family)!, ...ips, ...cidrs]);
        return wgJson<NodeRecord>(node, ["node", "show"]);
      }),
    );
    await Promise.all(nodes.map((node) => importPeers(node, records)));
  });
  test("two devices are up with the MTU that the underlay leaves", () => {
    for (const dev of devices) {
      const [link] = ipJson<{ mtu: number; flags: string[] }>(n1, "link", "show", "dev", dev);
      expect(link).toMatchObject({ mtu });
      expect(link?.flags).toContain("UP");
    }
  });

  test("every device has the node's own address, /32 and /128, without a prefix route", () => {
    for (const dev of devices) {
      const [link] = ipJson<{ addr_info: object[] }>(n1, "address", "show", "dev", dev, "scope", "global");
      expect(link?.addr_info.filter((info) => Object.keys(info).length > 0)).toMatchObject([
        { local: "192.0.2.1", prefixlen: 32, scope: "global", noprefixroute: true },
        { local: "2001:db8::1", prefixlen: 128, scope: "global", noprefixroute: true },
      ]);
    }
    // A TUN device has an IPv6 link-local address and its route, by the kernel; nothing else may lead there.
    const main = n1.must(["sh", "-c", "ip route; ip -6 route | grep -v ^fe80::/64"]);
    expect(main).not.toContain("wg-cni-");
  });

  test("rules of four priorities a family; IPv4 has two more, for its reverse path", () => {
    for (const version of [4, 6] as const)
      expect(ruleLines(n1, version)).toEqual([
        "97: from all fwmark 0x20000000/0x60000000 iif lo goto 100 proto 118",
        "97: from all fwmark 0x60000000/0x60000000 goto 100 proto 118",
        ...(version === 4
          ? devices.map((dev) => `97: from all fwmark 0x40000000/0x60000000 iif ${dev} goto 100 proto 118`)
          : []),
        "98: from all lookup 18099 proto 118",
        "99: not from all iif lo lookup 18098 proto 118",
        "99: from all fwmark 0x40000000/0x60000000 lookup 18098 proto 118",
        "100: from all nop proto 118",
      ]);
  });

  test("the table of pods: peers by the tunnel from the node's address, the own pods thrown out", () => {
    expect(routeLines(n1, 4, tables.pods)).toEqual([
      "throw 10.244.1.0/24 proto 118 scope global",
      "unicast 10.244.2.0/24 dev wg-cni-a proto 118 scope link src 192.0.2.1",
      "unicast 10.244.3.0/24 dev wg-cni-a proto 118 scope link src 192.0.2.1",
    ]);
    expect(routeLines(n1, 6, tables.pods)).toEqual([
      "throw fd00:10:244:1::/64 dev lo proto 118 scope global metric 1024 pref medium",
      "unicast fd00:10:244:2::/64 dev wg-cni-a proto 118 scope global src 2001:db8::1 metric 1024 pref medium",
      "unicast fd00:10:244:3::/64 dev wg-cni-a proto 118 scope global src 2001:db8::1 metric 1024 pref medium",
    ]);
  });

  test("the table of hosts: the addresses of the other nodes", () => {
    expect(routeLines(n1, 4, tables.hosts)).toEqual([
      "unicast 192.0.2.2 dev wg-cni-a proto 118 scope link",
      "unicast 192.0.2.3 dev wg-cni-a proto 118 scope link",
    ]);
    expect(routeLines(n1, 6, tables.hosts)).toEqual([
      "unicast 2001:db8::2 dev wg-cni-a proto 118 scope global metric 1024 pref medium",
      "unicast 2001:db8::3 dev wg-cni-a proto 118 scope global metric 1024 pref medium",
    ]);
  });

  test("every peer is on both devices with its key of that slot and the same allowed IPs", () => {
    const dump = wgDump(n1);
    expect(Object.keys(dump).sort()).toEqual([...devices]);
    for (const [i, dev] of devices.entries()) {
      const own = records[0]!.slots[i]!;
      expect(dump[dev]).toMatchObject({ publicKey: own.publicKey, port: 51820 + i, fwmark: "0x20000000" });
      const expected = [2, 3].map((index) => {
        const { slots, podCIDRs, nodeIPs } = records[index - 1]!;
        const ip = nodes[index - 1]!.ip(family)!;
        const peer = {
          presharedKey: "(none)",
          endpoint: `${family === 6 ? `[${ip}]` : ip}:${51820 + i}`,
          allowedIPs: [...podCIDRs, `${nodeIPs[0]}/32`, `${nodeIPs[1]}/128`].sort(),
          handshake: 0,
          keepalive: "off",
        };
        return [slots[i]!.publicKey, peer];
      });
      expect(dump[dev]?.peers).toEqual(Object.fromEntries(expected));
    }
  });

  test("reverse-path filtering takes the mark into account if it is strict, and is loose on the devices", async () => {
    const value = (path: string) => n1.must(["cat", `/proc/sys/net/ipv4/conf/${path}`]).trim();
    const marks = () => ["all", "eth0", "lo"].map((dev) => value(`${dev}/src_valid_mark`));
    expect(marks()).toEqual(["0", "0", "0"]);
    n1.script(["echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter"]);
    await wgMust(n1, ["sync"]);
    expect(marks()).toEqual(["0", "1", "0"]);
    n1.script(["echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter"]);
    await wgMust(n1, ["sync"]);
    expect(marks()).toEqual(["0", "0", "0"]);
    for (const dev of devices) expect(value(`${dev}/rp_filter`)).toBe("2");
    expect(value("eth0/rp_filter")).not.toBe("2");
  });

  test("the record is what the node was told, with two keys of its own", () => {
    const texts = { publicKey: expect.any(String), proof: expect.any(String) };
    expect(records[0]).toEqual({
      name: "n1",
      slots: [
        { slot: "a", port: 51820, state: "active", ...texts },
        { slot: "b", port: 51821, state: "active", ...texts },
      ],
      endpoints: [n1.ip(family)!],
      nodeIPs: ["192.0.2.1", "2001:db8::1"],
      podCIDRs: n1.podCidrs,
    });
    const keys = records.flatMap(({ slots }) => slots.map(({ publicKey }) => publicKey));
    expect(new Set(keys).size).toBe(6);
  });

  test("up with nothing new writes nothing and keeps the keys; so does importing the same records", async () => {
    const before = readFileSync(n1.outsidePath("/etc/wg-cni/seal.key"));
    expect(await wgJson(n1, ["up"])).toMatchObject({ writes: 0, steps: [], failures: [] });
    expect(await importPeers(n1, records)).toMatchObject({ writes: 0, steps: [], failures: [] });
    expect(await wgJson<NodeRecord>(n1, ["node", "show"])).toEqual(records[0]!);
    expect(readFileSync(n1.outsidePath("/etc/wg-cni/seal.key"))).toEqual(before);
  });
});
