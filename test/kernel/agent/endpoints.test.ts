// Endpoints that nobody typed: found on the default route's interface or on the
// one that was chosen, followed when an address changes, kept when none fits.
// Two nodes with two uplinks each; witnesses are ip, wg and ping.
import { beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  importPeers,
  missing,
  paperRecord,
  type SyncJson,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

type Synced = SyncJson & { readonly warnings: readonly string[] };

describe.skipIf(missing !== undefined)("endpoints that were not configured", () => {
  const lab = withLab("transport");
  let n1: Node;
  let n2: Node;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    lab.wire.script(["ip link add br1 type bridge forward_delay 0 mcast_snooping 0", "ip link set br1 up"]);
    for (const [i, node] of [n1, n2].entries()) {
      lab.wire.script([
        `ip link add ${node.name}x type veth peer name eth1 netns ${node.innerPid}`,
        `ip link set ${node.name}x master br1 up`,
      ]);
      node.script([
        ...[`ip address add 10.9.0.${i + 1}/16 dev eth1`, `ip address add fd09::${i + 1}/64 dev eth1 nodad`],
        "ip link set eth1 up",
      ]);
    }
  });
  beforeEach(async () => {
    await n1.wg(["down"]);
    n1.script(["rm -rf /var/lib/wg-cni", "ip address flush dev eth1 scope global"]);
    n1.script(["ip address add 10.9.0.1/16 dev eth1", "ip address add fd09::1/64 dev eth1 nodad"]);
  });

  const record = (node = n1) => wgJson<NodeRecord>(node, ["node", "show"]);
  const found = ["192.0.2.1", "2001:db8::1"];
  const from = async () => JSON.parse((await n1.wg(["status", "--json"])).stdout).endpointsFrom as string;
  const sync = () => wgJson<Synced>(n1, ["sync"]);
  const deviceAddresses = () =>
    n1
      .must(["ip", "-o", "address", "show", "dev", "wg-cni-a", "scope", "global"])
      .match(/inet6? \S+/g)
      ?.map((text) => text.split(" ")[1]);

  test("the default route's interface, in both families; node IPs are the endpoints", async () => {
    await wgMust(n1, ["up", "--pod-cidr", "10.244.1.0/24"]);
    expect(await record()).toMatchObject({ name: "n1", endpoints: found, nodeIPs: found });
    expect(deviceAddresses()).toEqual(["192.0.2.1/32", "2001:db8::1/128"]);
    expect(await from()).toBe("found on eth0, which has the default route");
    expect((await wgMust(n1, ["status"])).stdout).toMatch(
      /^endpoints +192\.0\.2\.1, 2001:db8::1 {2}\(found on eth0, which has the default route\)$/m,
    );
    expect(await sync()).toMatchObject({ writes: 0, warnings: [] });
  });

  test("a default route with two next hops leads by both interfaces", async () => {
    const hops = "nexthop via 192.0.2.254 dev eth0 nexthop via 10.9.255.254 dev eth1";
    n1.script([`ip route replace default ${hops}`]);
    await wgMust(n1, ["up", "--pod-cidr", "10.244.1.0/24"]);
    n1.script(["ip route replace default via 192.0.2.254 dev eth0"]);
    expect((await record()).endpoints).toEqual(["192.0.2.1", "10.9.0.1", "2001:db8::1", "fd09::1"]);
  });

  test("the interface or the network that is chosen; what is typed wins, and stays until it is let go of", async () => {
    await wgMust(n1, ["up", "--pod-cidr", "10.244.1.0/24", "--transport-interface", "eth1"]);
    expect((await record()).endpoints).toEqual(["10.9.0.1", "fd09::1"]);
    expect(await from()).toBe("found on eth1");
    await wgMust(n1, [
      "up",
      "--transport-interface",
      "default",
      "--transport-cidrs",
      "10.0.0.0/8,2001:db8::/32",
    ]);
    expect((await record()).endpoints).toEqual(["10.9.0.1", "2001:db8::1"]);
    await wgMust(n1, ["up", "--transport-interface", "eth1"]);
    expect((await record()).endpoints).toEqual(["10.9.0.1"]);
    expect(await from()).toBe("found on eth1, in 10.0.0.0/8, 2001:db8::/32");

    await wgMust(n1, ["up", "--endpoint", "192.0.2.1"]);
    expect(await record()).toMatchObject({ endpoints: ["192.0.2.1"], nodeIPs: ["192.0.2.1"] });
    const { warnings } = await wgJson<Synced>(n1, ["up", "--transport-interface", "eth0"]);
    expect(warnings.join()).toContain("let go of by `wg-cni up --endpoint default`");
    expect((await record()).endpoints).toEqual(["192.0.2.1"]);
    expect(await from()).toBe("given by --endpoint");
    await wgMust(n1, [
      "up",
      "--endpoint",
      "default",
      "--transport-cidrs",
      "default",
      "--node-ip",
      "192.0.2.1",
    ]);
    expect(await record()).toMatchObject({ endpoints: found, nodeIPs: ["192.0.2.1"] });
  });

  test.each([
    [
      ["--transport-cidrs", "172.16.0.0/12"],
      /no interface has an address in 172\.16\.0\.0\/12; there is .*192\.0\.2\.1 \(eth0\)/,
    ],
    [
      ["--transport-interface", "eth1", "--transport-cidrs", "192.0.2.0/24"],
      /interface eth1 has no address in 192\.0\.2\.0\/24; it has 10\.9\.0\.1, fd09::1/,
    ],
    [["--transport-interface", "ehh1"], /there is no interface ehh1; did you mean eth1\?/],
  ])("nothing fits %j: said with what there is, and nothing is stored", async (flags, said) => {
    const done = await n1.wg(["up", "--pod-cidr", "10.244.1.0/24", ...flags]);
    expect(done).toMatchObject({ exitCode: 2, stdout: "" });
    expect(done.stderr).toMatch(said);
    expect(done.stderr).toContain("Give --endpoint IP, or choose with --transport-interface");
    expect(JSON.parse((await n1.wg(["status", "--json"])).stdout)).toEqual({ up: false });
  });

  test("no default route: said so", async () => {
    n1.script(["ip route delete default", "ip -6 route delete default"]);
    const done = await n1.wg(["up", "--pod-cidr", "10.244.1.0/24"]);
    n1.script([
      "ip route add default via 192.0.2.254 dev eth0",
      "ip route add default via 2001:db8::fe dev eth0",
    ]);
    expect(done.exitCode).toBe(2);
    expect(done.stderr).toContain("no default route says which interface leads to the other nodes");
  });

  test("temporary, deprecated and virtual addresses are not taken", async () => {
    n1.script([
      "ip address add 10.9.0.70/16 dev eth1",
      "ip address add 10.9.0.71/32 dev eth1",
      "ip address add fd09::70/64 dev eth1 nodad valid_lft 1000 preferred_lft 0",
      // The kernel makes temporary addresses itself, beside one that says so.
      "echo 2 >/proc/sys/net/ipv6/conf/eth1/use_tempaddr",
      "ip address add fd09::72/64 dev eth1 nodad mngtmpaddr valid_lft 1000 preferred_lft 900",
    ]);
    const deadline = Date.now() + 20_000;
    while (!n1.must(["ip", "-6", "address", "show", "dev", "eth1"]).includes("temporary")) {
      if (Date.now() > deadline) throw new Error("the kernel made no temporary address");
      await Bun.sleep(50);
    }
    await wgMust(n1, ["up", "--pod-cidr", "10.244.1.0/24", "--transport-interface", "eth1"]);
    n1.script(["echo 0 >/proc/sys/net/ipv6/conf/eth1/use_tempaddr"]);
    expect((await record()).endpoints).toEqual(["10.9.0.1", "fd09::1", "fd09::72"]);
  });

  test("an address that changed is followed by sync, node IPs and devices with it; plan says so before", async () => {
    await wgMust(n1, ["up", "--pod-cidr", "10.244.1.0/24", "--transport-interface", "eth1"]);
    await importPeers(n1, [paperRecord(2)]);
    n1.script(["ip address delete 10.9.0.1/16 dev eth1", "ip address add 10.9.0.7/16 dev eth1"]);
    const next = ["10.9.0.7", "fd09::1"];
    expect(await from()).toBe(
      `found before; now eth1 has ${next.join(", ")}, which the agent or \`wg-cni sync\` takes`,
    );
    expect(await wgJson<object>(n1, ["plan"])).toEqual({ node: "n1", steps: [], endpoints: next });
    expect((await wgMust(n1, ["plan"])).stdout).toBe(
      `# sync makes ${next.join(", ")} the node's endpoints first\n`,
    );
    expect((await record()).endpoints).toEqual(["10.9.0.1", "fd09::1"]);
    const { warnings, failures } = await sync();
    expect(failures).toEqual([]);
    expect(warnings.join()).toContain("endpoints have changed, to 10.9.0.7, fd09::1: give its record");
    expect(await record()).toMatchObject({ endpoints: next, nodeIPs: next });
    expect(deviceAddresses()).toEqual(["10.9.0.7/32", "fd09::1/128"]);
    expect(n1.must(["ip", "route", "show", "table", "18099"])).toContain(
      "10.128.2.0/24 dev wg-cni-a proto 118 scope link src 10.9.0.7",
    );
    expect(await sync()).toMatchObject({ writes: 0, warnings: [] });
  });

  test("node IPs that were typed stay when the endpoints change", async () => {
    await wgMust(n1, ["up", "--transport-interface", "eth1", "--node-ip", "192.0.2.1"]);
    n1.script(["ip address delete 10.9.0.1/16 dev eth1", "ip address add 10.9.0.7/16 dev eth1"]);
    await sync();
    expect(await record()).toMatchObject({ endpoints: ["10.9.0.7", "fd09::1"], nodeIPs: ["192.0.2.1"] });
    expect(deviceAddresses()).toEqual(["192.0.2.1/32"]);
  });

  test("an interface that lost all its addresses leaves the endpoints as they were, and a sentence", async () => {
    await wgMust(n1, ["up", "--pod-cidr", "10.244.1.0/24", "--transport-interface", "eth1"]);
    n1.script(["ip address flush dev eth1 scope global"]);
    const before = await record();
    const { warnings, writes } = await sync();
    expect(warnings).toEqual([
      expect.stringMatching(
        /^The endpoints of this node stay as they were: interface eth1 has no address that other nodes can reach; it has fe80::\S+ \(link-local\)\.$/,
      ),
    ]);
    expect(writes).toBe(0);
    expect(await record()).toEqual(before);
    expect(await from()).toStartWith("kept from before: interface eth1 has no address");
    // Another setting may be changed meanwhile; choosing anew may not fail silently.
    expect((await wgJson<Synced>(n1, ["up", "--persistent-keepalive", "25"])).warnings.join()).toContain(
      "stay as they were",
    );
    expect((await n1.wg(["up", "--transport-interface", "eth1"])).exitCode).toBe(2);
    expect(await record()).toEqual(before);
  });

  test("the tunnel between two nodes goes over the interface that was chosen", async () => {
    const nodes = [n1, n2];
    await n2.wg(["down"]);
    for (const node of nodes)
      await wgMust(node, [
        "up",
        "--transport-interface",
        "eth1",
        ...node.podCidrs.flatMap((cidr) => ["--pod-cidr", cidr]),
      ]);
    const records = await Promise.all(nodes.map((node) => record(node)));
    await Promise.all(nodes.map((node) => importPeers(node, records)));
    n2.script([
      "ip link add pod0 type bridge",
      "ip address add 10.244.2.9/32 dev pod0",
      "ip link set pod0 up",
    ]);
    expect(await ping(n1, "10.244.2.9", { timeoutSeconds: 10 })).toMatchObject({ received: 3 });
    const peers = Object.values(wgDump(n1)["wg-cni-a"]?.peers ?? {});
    expect(peers).toMatchObject([{ endpoint: "10.9.0.2:51820" }]);
    expect(peers[0]?.handshake).toBeGreaterThan(0);
  });
});
