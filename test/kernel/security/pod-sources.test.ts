// A pod with NET_RAW sends from addresses of other hosts: by a link of ours none of these packets arrives at
// the node, at another pod, or in the tunnel, for both families and whatever rp_filter says. The control
// removes the table. Dropped packets are counted.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, succeed } from "../support/plugin.ts";
import { ip } from "../support/reference.ts";
import { type Ends, send, udp } from "./support/frames.ts";

setDefaultTimeout(60_000);

const port = 4242;
const list = readConfList(`${repository}/conf/10-wg-cni.conflist`);
const conf = { ...list.plugins[0], name: list.name, cniVersion: list.cniVersion };

describeKernel("what a pod sends with sources of other hosts", () => {
  const lab = withLab("sources");
  let node: Node;
  let remote: Node;
  let pod: Pod;
  let victim: Pod;
  let far: Pod;
  let macs: Ends;

  beforeAll(async () => {
    node = await lab.node("n1", options(1));
    remote = await lab.node("n2", options(2));
    await joinMesh([node, remote]);
    [pod, victim, far] = [node.pod("evil"), node.pod("victim"), remote.pod("far")];
    for (const one of [pod, victim, far]) await attach(one);
    const [link] = ip(pod, "link", "show", "dev", "eth0");
    macs = { from: link.address, to: ip(pod, "neighbour", "show", "nud", "permanent")[0].lladdr };
    await ping(pod, far.ip(4));
    await ping(pod, far.ip(6));
    for (const one of [node, remote]) watch(one);
  });

  async function attach(one: Pod): Promise<string> {
    const { json } = await succeed(one.node, "ADD", conf, one);
    for (const { address } of json.ips ?? [])
      one.ips[address.includes(":") ? 6 : 4] = address.slice(0, address.indexOf("/"));
    return json.interfaces?.[0]?.name ?? "";
  }

  /** How many of the frames came to where they wanted: each has another source. */
  function arrived(from: readonly string[], to: string, at: Node): number {
    const before = counted(at);
    send(
      pod,
      "eth0",
      from.map((source) => udp(macs, { from: source, to }, port)),
    );
    Bun.sleepSync(150);
    return counted(at) - before;
  }

  const forged = {
    4: () => [
      victim.ip(4),
      far.ip(4),
      "192.0.2.1",
      "192.0.2.2",
      "192.0.2.254",
      "203.0.113.5",
      "169.254.1.1",
      "127.0.0.1",
      "10.244.1.99",
    ],
    6: () => [
      victim.ip(6),
      far.ip(6),
      "2001:db8::1",
      "2001:db8::2",
      "2001:db8:9::5",
      "fd00:10:244:1::99",
      "fe80::1",
    ],
  } as const;

  describe.each([0, 1, 2])("with rp_filter %d of all", (filter) => {
    beforeAll(() => node.script([`echo ${filter} > /proc/sys/net/ipv4/conf/all/rp_filter`]));

    test.each([4, 6] as const)("nothing of IPv%d arrives but what has the pod's own address", (family) => {
      const before = forgedCount(node);
      const targets: [string, Node][] = [
        [victim.ip(family), node],
        [node.ip(family) as string, node],
        [far.ip(family), remote],
      ];
      for (const [to, at] of targets) {
        expect(arrived(forged[family](), to, at)).toBe(0);
        expect(arrived([pod.ip(family)], to, at)).toBe(1);
      }
      // Of what has the sender's own address for a target the way is not the tunnel's: it is dropped all the same.
      expect(forgedCount(node) - before).toBe(targets.length * forged[family]().length);
    });
  });

  test("the traffic of honest pods is as it was", async () => {
    for (const family of [4, 6] as const)
      for (const to of [victim.ip(family), far.ip(family), node.ip(family) as string])
        expect(await ping(pod, to)).toMatchObject({ received: 3 });
  });

  test("control: without the table IPv6 arrives with sources of other hosts; a sync restores the table", async () => {
    node.must(["nft", "delete", "table", "inet", "wg-cni-pods"]);
    expect(arrived([victim.ip(6)], node.ip(6) as string, node)).toBe(1);
    const { steps, writes } = JSON.parse((await node.wg(["sync", "--json"])).stdout);
    expect(writes).toBeGreaterThan(0);
    expect(steps.join("\n")).toContain("add table inet wg-cni-pods");
    expect(arrived([victim.ip(6)], node.ip(6) as string, node)).toBe(0);
    expect(JSON.parse((await node.wg(["sync", "--json"])).stdout)).toMatchObject({ writes: 0 });
  });

  test("after another process has flushed nftables, the next ADD restores the table", async () => {
    node.must(["nft", "delete", "table", "inet", "wg-cni-pods"]);
    const late = node.pod("late");
    await attach(late);
    expect(arrived([victim.ip(6)], node.ip(6) as string, node)).toBe(0);
    await succeed(node, "DEL", conf, late);
    expect(hasTable(node)).toBe(true);
  });

  test("the table goes with the last pod, whatever ends it", async () => {
    await succeed(remote, "DEL", conf, far);
    expect(hasTable(remote)).toBe(false);
    await attach(far);
    expect(hasTable(remote)).toBe(true);
    await succeed(remote, "GC", { ...conf, cniVersion: "1.1.0", "cni.dev/valid-attachments": [] });
    expect(hasTable(remote)).toBe(false);
    // An ADD that fails leaves none behind.
    remote.must(["ip", "-n", "far", "link", "add", "eth0", "type", "veth", "peer", "name", "eth9"]);
    expect((await call(remote, "ADD", conf, far)).exitCode).toBe(1);
    expect(hasTable(remote)).toBe(false);
  });
});

function options(n: number) {
  return {
    ...{ ip4: `192.0.2.${n}`, ip6: `2001:db8::${n}` },
    podCidrs: [`10.244.${n}.0/24`, `fd00:10:244:${n}::/64`],
  };
}

const witness = "inet witness";

/** Counts what has passed every check of sources: it is delivered, or forwarded. */
function watch(node: Node): void {
  node.script([
    `nft add table ${witness}`,
    ...["input", "forward"].flatMap((hook) => [
      `nft 'add chain ${witness} ${hook} { type filter hook ${hook} priority 0; }'`,
      `nft add rule ${witness} ${hook} udp dport ${port} counter`,
    ]),
  ]);
}

function counted(node: Node): number {
  const text = node.must(["nft", "list", "table", ...witness.split(" ")]);
  return [...text.matchAll(/packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
}

function forgedCount(node: Node): number {
  const text = node.must(["nft", "list", "table", "inet", "wg-cni-pods"]);
  return [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
}

function hasTable(node: Node): boolean {
  return node.exec(["nft", "list", "table", "inet", "wg-cni-pods"]).exitCode === 0;
}
