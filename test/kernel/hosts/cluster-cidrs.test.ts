// Networks of pods that contain hosts, as the range of a whole cloud network does, are refused with a reason
// before anything changes, and left out if they contain a host later. Traffic to the gateway, the other node
// and its tunnel stays as it was.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import { gateways } from "../../lab/lab.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { addNode, importPeers, missing, paperRecord, wgJson, wgMust } from "../support/mesh-reference.ts";

setDefaultTimeout(120_000);

const usage = 2;
/** An agent hears of an address at once; two cores run all of it. */
const soonMs = 30_000;

interface Shown {
  readonly refusedCIDRs: readonly { readonly cidr: string; readonly ip: string }[];
  readonly refusedClaims: readonly { readonly peer: string; readonly claim: string }[];
  readonly settings: readonly { readonly name: string; readonly value: string }[];
}

const shown = async (node: Node) => JSON.parse((await node.wg(["status", "--json"])).stdout) as Shown;
const clusterCIDRs = async (node: Node) =>
  (await shown(node)).settings.find(({ name }) => name === "clusterCIDRs")?.value;
/** Returns the prefixes that are refused as a whole, in any of our tables. */
const refusedNetworks = (node: Node) =>
  ["18098", "18099"]
    .flatMap((table) => node.must(["ip", "route", "show", "table", table]).split("\n"))
    .flatMap((line) => /^prohibit (\S+\/\S+)/.exec(line)?.[1] ?? [])
    .sort();
const answers = async (from: Node | Pod, ip: string) => (await ping(from, ip)).received;

describe.skipIf(missing !== undefined)("networks that hold hosts", () => {
  const lab = withLab("cidrs");
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    for (const node of [n1, n2]) node.strictReversePath();
    await joinMesh([n1, n2], ["--mode", "strict"]);
    [p1, p2] = [n1.pod("p1"), n2.pod("p2")];
    for (const pod of [p1, p2])
      await pod.node.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
  });
  /** A refused destination stays refused; on a busy machine a ping may be late. */
  const expectAllWorks = async () => {
    const ways = [
      [n1, gateways[4]],
      [n1, "192.0.2.2"],
      [p1, p2.ip(4)],
      [p1, "192.0.2.2"],
    ] as const;
    for (const [from, ip] of ways)
      await waitUntil(async () => (await answers(from, ip)) === 3, {
        what: `${from.label} reaches ${ip}`,
        timeoutMs: soonMs,
      });
  };

  describe("`up` refuses", () => {
    test.each([
      ["the range of the nodes' network", "192.0.2.0/24", "192.0.2.1"],
      ["a wider one beside one that is good", "10.244.0.0/16,192.0.0.0/16", "192.0.2.1"],
      ["the gateway alone", "192.0.2.254/31", "192.0.2.254"],
      ["a peer alone", "192.0.2.2/32", "a node IP of n2"],
      ["IPv6", "2001:db8::/32", "2001:db8::1"],
      ["everything", "0.0.0.0/0", "everything"],
      ["half of everything", "128.0.0.0/1", "too wide"],
      ["link-local", "169.254.0.0/16", "link-local"],
      ["host bits", "10.244.0.1/16", "did you mean 10.244.0.0/16"],
    ])("%s", async (_what, cidrs, word) => {
      const picture = n1.must(["ip", "route", "show", "table", "all"]);
      const { exitCode, stderr, stdout } = await n1.wg(["up", "--cluster-cidrs", cidrs]);
      expect([exitCode, `${stderr}${stdout}`]).toEqual([usage, expect.stringContaining(word)]);
      expect(await clusterCIDRs(n1)).toBe("");
      expect(n1.must(["ip", "route", "show", "table", "all"])).toBe(picture);
      await expectAllWorks();
    });

    test("the control plane, named by flag or in a kubeconfig", async () => {
      n1.script(["printf 'clusters: [{cluster: {server: \"https://203.0.113.7:6443\"}}]' >/etc/kubeconfig"]);
      for (const flags of [
        ["--control-plane", "203.0.113.7:6443"],
        ["--kubeconfig", "/etc/kubeconfig"],
      ]) {
        const { exitCode, stderr } = await n1.wg(["up", "--cluster-cidrs", "203.0.113.0/24", ...flags]);
        expect([exitCode, stderr]).toEqual([usage, expect.stringContaining("203.0.113.7")]);
      }
    });

    test("pod CIDRs that hold the node, its gateway or its subnet", async () => {
      for (const cidr of ["192.0.2.0/24", "192.0.2.254/31", "192.0.2.0/30"])
        expect(await n1.wg(["up", "--pod-cidr", cidr])).toMatchObject({ exitCode: usage });
      expect((await wgJson<NodeRecord>(n1, ["node", "show"])).podCIDRs).toEqual([...n1.podCidrs]);
    });

    test("control: the pods' own network is taken, and refused to pods as a whole", async () => {
      await wgMust(n1, ["up", "--cluster-cidrs", "10.244.0.0/16,198.51.100.0/24"]);
      expect(refusedNetworks(n1)).toEqual(
        expect.arrayContaining(["10.244.0.0/16", "198.51.100.0/24"]) as unknown as string[],
      );
      expect(await answers(p1, "198.51.100.9")).toBe(0);
      await expectAllWorks();
    });
  });

  test("a peer that joins with an address in one: that one is left out and named, the other CIDRs hold, and it is back when the peer goes", async () => {
    n2.script(["ip address add 198.51.100.2/32 dev lo"]);
    n1.script(["ip route add 198.51.100.2/32 via 192.0.2.2 dev eth0"]);
    const late = paperRecord(7, { endpoints: ["198.51.100.2"], nodeIPs: ["198.51.100.2"] });
    await importPeers(n1, [late]);
    expect((await shown(n1)).refusedCIDRs).toMatchObject([{ cidr: "198.51.100.0/24", ip: "198.51.100.2" }]);
    expect(refusedNetworks(n1)).toContain("10.244.0.0/16");
    expect(refusedNetworks(n1)).not.toContain("198.51.100.0/24");
    expect(await answers(n1, "198.51.100.2")).toBe(3);
    const { stdout } = await n1.wg(["doctor", "--json"]);
    const { findings } = JSON.parse(stdout) as { findings: readonly { check: string; level: string }[] };
    expect(findings.find(({ check }) => check === "cluster CIDRs")?.level).toBe("warn");
    // Stored values stay; only a typed one is refused.
    await wgMust(n1, ["up"]);
    await wgMust(n1, ["peer", "remove", late.name]);
    expect((await shown(n1)).refusedCIDRs).toEqual([]);
    expect(refusedNetworks(n1)).toContain("198.51.100.0/24");
  });

  test("an address of this node's own comes: the agent leaves the network out at once, and takes it back", async () => {
    const agent = await n1.agent();
    const isLeftOut = async () => (await shown(n1)).refusedCIDRs.length > 0;
    n1.script(["ip address add 198.51.100.1/24 dev eth0"]);
    await agent.waitFor("cluster CIDR ignored");
    await waitUntil(() => !refusedNetworks(n1).includes("198.51.100.0/24"), {
      what: "198.51.100.0/24 is not refused",
      timeoutMs: soonMs,
    });
    expect(await isLeftOut()).toBe(true);
    n1.script(["ip address delete 198.51.100.1/24 dev eth0"]);
    await agent.waitFor("resolved: cluster CIDR ignored");
    expect([await isLeftOut(), refusedNetworks(n1).includes("198.51.100.0/24")]).toEqual([false, true]);
    await agent.stop();
  });

  test("a peer's record that claims the gateway, its own subnet or half of everything takes no host along", async () => {
    const claims = ["192.0.2.252/30", "128.0.0.0/8", "10.131.0.0/16"];
    const greedy = paperRecord(8, {
      ...{ endpoints: ["10.131.0.8"], nodeIPs: ["10.131.0.8"], podCIDRs: [...claims, "10.132.0.0/24"] },
    });
    await importPeers(n1, [greedy]);
    const { refusedClaims } = await shown(n1);
    expect(refusedClaims.map(({ claim }) => claim).sort()).toEqual(["10.131.0.0/16", "192.0.2.252/30"]);
    const routes = n1.must(["ip", "route", "show", "table", "18099"]);
    expect(routes).not.toContain("192.0.2.252/30");
    // Control: what holds nobody is the peer's.
    for (const cidr of ["128.0.0.0/8", "10.132.0.0/24"]) expect(routes).toContain(cidr);
    await expectAllWorks();
    await wgMust(n1, ["peer", "remove", greedy.name]);
  });
});
