// One node has IPv6 switched off, as hardening guides have it; the others are dual-stack.
// That is a fact of the host and no failure: IPv4 is encrypted, the agent is ready, an ADD
// does not begin anew, and strict mode starts the pods that it can protect.
import { beforeEach, expect, test } from "bun:test";
import { holdLock } from "../../lab/held-lock.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { http, ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLabPerTest } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, routeLines, ruleLines, tables, wgJson } from "../support/mesh-reference.ts";
import { call, succeed } from "../support/plugin.ts";

interface StatusJson {
  readonly missingCapabilities: readonly string[];
  readonly pending: readonly string[];
}

/** Of the whole host, as sysctl.d has it; what was there before stays as it was made. */
const off = ["echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"];
const on = ["all", "default", "eth0"].map((dev) => `echo 0 >/proc/sys/net/ipv6/conf/${dev}/disable_ipv6`);

const conf = (range: string, more: object = {}) => ({
  ...{ type: "wg-cni", name: "pods", cniVersion: "1.0.0" },
  ipam: { ranges: [[{ subnet: range }]] },
  ...more,
});

describeKernel("a node with half of the families", () => {
  const lab = withLabPerTest("half");
  let half: Node;
  let whole: Node;
  let count = 0;

  beforeEach(async () => {
    half = await addNode(lab, 1);
    whole = await addNode(lab, 2);
  });

  /** The arguments of `up` for a node without IPv6. */
  const announceHalf = () =>
    Object.defineProperty(half, "upArguments", {
      value: ["--node", "n1", "--endpoint", "192.0.2.1", "--pod-cidr", "10.244.1.0/24"],
    });
  const status = async (node: Node) => JSON.parse((await node.wg(["status", "--json"])).stdout) as StatusJson;
  const isTunneled = () => routeLines(half, 6, tables.pods).some((line) => line.includes("wg-cni-"));
  async function attach(node: Node, to: Pod, range: string): Promise<string> {
    const { json } = await succeed(node, "ADD", conf(range), to);
    return json.ips?.[0]?.address.split("/")[0] as string;
  }
  const newPods = () => [half.pod(`p${++count}`), whole.pod(`p${++count}`)] as const;
  async function expectIpv4Pods([near, far] = newPods()): Promise<void> {
    await attach(half, near, "10.244.1.0/24");
    const ip = await attach(whole, far, "10.244.2.0/24");
    expect(await ping(near, ip, { count: 3 })).toMatchObject({ received: 3 });
  }

  test("control: with IPv6 there is nothing to say, and it takes the tunnel", async () => {
    await joinMesh([half, whole], ["--mode", "strict"]);
    expect(await status(half)).toMatchObject({ missingCapabilities: [], pending: [] });
    expect(isTunneled()).toBe(true);
    await expectIpv4Pods();
  });

  test.each([
    ["permissive", false],
    ["strict", false],
    ["strict", true],
  ])(
    "in mode %s IPv4 is encrypted and nothing fails, its own record with IPv6: %p",
    async (mode, announces) => {
      if (!announces) announceHalf();
      half.script(off);
      await joinMesh([half, whole], ["--mode", mode]);
      const { missingCapabilities, pending } = await status(half);
      expect([missingCapabilities.length, pending]).toEqual([1, []]);
      expect(await wgJson(half, ["sync"])).toMatchObject({ writes: 0, failures: [] });
      await expectIpv4Pods();
      expect(isTunneled()).toBe(false);
      // Strict mode refuses what it could not encrypt, from the moment that IPv6 is there.
      const refusals = routeLines(half, 6, tables.pods).filter((line) => line.startsWith("prohibit"));
      expect(refusals.some((line) => line.includes("fd00:10:244:2::/64"))).toBe(mode === "strict");
      expect((await half.wg(["down"])).exitCode).toBe(0);
      expect([ruleLines(half, 6), routeLines(half, 6, tables.pods)]).toEqual([[], []]);
    },
  );

  test("an ADD finds the mesh programmed, and does not begin anew", async () => {
    half.script(off);
    await joinMesh([half, whole], ["--mode", "strict"]);
    // A sync waits for this lock, for a minute.
    const holder = await holdLock(half, "/var/lib/wg-cni/sync.lock");
    const answer = await call(half, "ADD", conf("10.244.1.0/24"), half.pod("one"));
    await holder.stop("SIGKILL");
    expect(answer.json.code).toBeUndefined();
    expect(answer.milliseconds).toBeLessThan(30_000);
  });

  test("sysctls that cannot be written are said, and nothing waits for them", async () => {
    const pods = newPods();
    half.script([
      "mount -t proc proc /proc",
      "mount --bind /proc/sys /proc/sys",
      "mount -o remount,ro,bind /proc/sys",
    ]);
    expect(half.exec(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/lo/rp_filter"]).exitCode).not.toBe(0);
    await joinMesh([half, whole], ["--mode", "strict"]);
    const { missingCapabilities, pending } = await status(half);
    expect(pending).toEqual([]);
    expect(missingCapabilities.filter((why) => why.includes("rp_filter cannot be set"))).toHaveLength(2);
    expect(missingCapabilities.every((why) => why.includes("cannot be set"))).toBe(true);
    await expectIpv4Pods(pods);
    await half.agent();
    expect(await http(half, "127.0.0.1", 5, 9586, "/readyz")).toMatchObject({ ok: true });
    half.script(["mount -o remount,rw,bind /proc/sys"]);
    // A user who runs sync wants it tried again.
    expect(await wgJson(half, ["sync"])).toMatchObject({ failures: [] });
    expect((await status(half)).missingCapabilities).toEqual([]);
    expect(half.must(["cat", "/proc/sys/net/ipv4/conf/wg-cni-a/rp_filter"])).toBe("2\n");
  });

  test("a kernel that shows no IPv6 and has no routing rules for it", async () => {
    // As it looks from outside: no settings of IPv6, no rules, and no table is asked for.
    announceHalf();
    half.script([
      "mount -t tmpfs tmpfs /proc/sys/net/ipv6",
      "for pref in $(ip -6 rule | cut -d: -f1); do ip -6 rule delete pref $pref; done",
    ]);
    await joinMesh([half, whole], ["--mode", "strict"]);
    const { missingCapabilities, pending } = await status(half);
    expect([missingCapabilities.length, pending]).toEqual([1, []]);
    expect(await wgJson(half, ["sync"])).toMatchObject({ writes: 0, failures: [] });
    expect(half.must(["ip", "-6", "rule"])).toBe("");
    // A pod's own address of that family gets no route in a table that is not there.
    const both = { ...conf("10.244.1.0/24"), ipam: undefined, name: "both" };
    const pod = half.pod("both");
    const ips = [{ address: "10.244.1.77/32" }, { address: "fd00:9::77/128" }];
    const prevResult = attachByHand(pod, "1.0.0", { hostDev: "veth-both", ips });
    await succeed(half, "ADD", { ...both, prevResult }, pod);
    await succeed(half, "CHECK", { ...both, prevResult }, pod);
    expect(routeLines(half, 6, tables.pods)).toEqual([]);
    expect(routeLines(half, 4, tables.pods)).toContainEqual(expect.stringContaining("throw 10.244.1.77"));
    await succeed(half, "DEL", { ...both, prevResult }, pod);
    removeByHand(pod);
    expect((await half.wg(["down"])).exitCode).toBe(0);
  });

  test("the agent is ready, says it once, and follows when IPv6 comes and goes", async () => {
    half.script(off);
    await joinMesh([half, whole]);
    const agent = await half.agent();
    await whole.agent();
    // A pass that IPv6 goes away under may fail, and the next one not.
    const ready = async () => (await http(half, "127.0.0.1", 5, 9586, "/readyz")).ok;
    const becomesReady = () => waitUntil(ready, { what: "the agent is ready" });
    expect(await ready()).toBe(true);
    const said = () =>
      agent.lines().filter(({ message }) => message.startsWith("host lacks a capability")).length;
    expect(said()).toBe(1);
    half.script(on);
    await waitUntil(isTunneled, { what: "the routes of IPv6" });
    await becomesReady();
    half.script(off);
    await waitUntil(() => !isTunneled() && said() === 2, {
      what: "the routes of IPv6 gone, and that it is said",
    });
    await becomesReady();
    expect(agent.lines().filter(({ level }) => level === "error")).toEqual([]);
  });
}, ["flock", "wireguard-go"]);
