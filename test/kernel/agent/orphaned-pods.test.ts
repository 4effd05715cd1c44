// Pods that end without a DEL: the agent takes away what they had, some time later, as
// DEL would; and leaves alone what may still be a pod. The time is a setting.
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isInitialPidNamespace } from "../../../src/linux/netns.ts";
import { observeNetns } from "../../../src/reconcile/orphaned.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { http } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { wgMust } from "../support/mesh-reference.ts";
import { succeed } from "../support/plugin.ts";
import { linkNames, rows, throwRoutes } from "../support/reference.ts";

/** The least that there can be; looks come every 5 s. */
const waitSeconds = 5;
/** Both of them, twice, on a busy machine. */
const soonMs = 40_000;
/** When all are gone. */
const manyWaits = 12;
const released = "pod released: its network namespace is gone, and no DEL came";
const kept = "pod kept: its network namespace is gone and no DEL came, but it cannot be released";

describeKernel("pods without a DEL", () => {
  // Some wait for three of these.
  setDefaultTimeout(4 * soonMs);
  const lab = withLab("abandoned");
  let node: Node;
  let agent: Agent;
  /** Is there all the time: with it, what is gone is believed. */
  let witness: Pod;
  let from = 0;

  const standalone = { type: "wg-cni", name: "own", cniVersion: "1.0.0" };
  /** Two addresses, for two pods. */
  const small = {
    ...standalone,
    name: "small",
    ipam: { ranges: [[{ subnet: "10.61.0.0/29", rangeEnd: "10.61.0.3" }]] },
  };
  const chained = { type: "wg-cni", name: "chained", cniVersion: "1.0.0" };
  const delegated = {
    ...{ ...standalone, name: "delegated" },
    ipam: { type: "host-local", ranges: [[{ subnet: "10.62.0.0/24" }]] },
  };

  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: ["10.244.1.0/24"] });
    await wgMust(node, ["up", ...node.upArguments]);
    agent = await start();
    witness = node.pod("witness");
    await succeed(node, "ADD", { ...standalone, ipam: {} }, witness);
  });
  afterEach(() => {
    from = agent.lines().length;
  });

  const start = (seconds = waitSeconds) => node.agent({ args: ["--release-after", `${seconds}s`] });
  const containers = () => rows(node).attachments.map(({ container_id }) => container_id as string);
  const leases = () => rows(node).leases.map(({ ip }) => ip as string);
  const of = (pod: Pod) => (line: { message: string; [field: string]: unknown }) =>
    line["container"] === pod.containerID;
  const isReleased = (pod: Pod) =>
    agent.waitFor((line) => line.message === released && of(pod)(line), soonMs, from);
  const saidOf = (pod: Pod) =>
    agent
      .lines()
      .slice(from)
      .filter(of(pod))
      .map(({ message }) => message);

  async function add(conf: object, name: string): Promise<Pod> {
    const pod = node.pod(name);
    await succeed(node, "ADD", conf, pod);
    return pod;
  }
  async function addChained(name: string, ip: string): Promise<Pod> {
    const pod = node.pod(name);
    const prevResult = attachByHand(pod, "1.0.0", {
      hostDev: `veth-${name}`,
      ips: [{ address: `${ip}/32` }],
    });
    await succeed(node, "ADD", { ...chained, prevResult }, pod);
    return pod;
  }
  /** Its namespace is named by a process, which has ended by now; the lab numbers processes its own way, as a container does. */
  async function addNumbered(name: string): Promise<Pod> {
    const pod = node.pod(name);
    const [pid] = node
      .must(["sh", "-c", `ip netns exec ${name} sleep 600 >/dev/null 2>&1 & echo $!`])
      .split("\n");
    await waitUntil(() => node.exec(["cat", `/proc/${pid}/comm`]).stdout === "sleep\n", {
      what: "its process",
    });
    const numbered = { ...pod, netns: `/proc/${pid}/ns/net` } as Pod;
    await succeed(node, "ADD", { ...standalone, ipam: {} }, numbered);
    node.must(["kill", "-s", "KILL", pid as string]);
    pod.remove();
    return numbered;
  }
  /** Time in which each of the others has been released. */
  const longEnough = () => Bun.sleep((waitSeconds + 2 * 5) * 1000);

  test("route, lease and row of one go, and the next pod gets its address; a DEL that comes later succeeds", async () => {
    const first = await add(small, "first");
    expect(leases()).toContain("10.61.0.2");
    await add(small, "second");
    const third = node.pod("third");
    await expect(succeed(node, "ADD", small, third)).rejects.toThrow("10.61.0");
    first.remove();
    expect(await isReleased(first)).toMatchObject({
      level: "info",
      network: "small",
      ifname: "eth0",
      ips: "10.61.0.2",
    });
    expect(throwRoutes(node)).not.toContain("10.61.0.2");
    expect([containers().includes(first.containerID), leases().includes("10.61.0.2")]).toEqual([
      false,
      false,
    ]);
    await succeed(node, "ADD", small, third);
    expect(leases()).toContain("10.61.0.2");
    await succeed(node, "DEL", small, first);
    // It took nothing of the pod that has the address now.
    expect([throwRoutes(node).includes("10.61.0.2"), leases().includes("10.61.0.2")]).toEqual([true, true]);
    expect(third.must(["ping", "-c", "1", "-W", "5", "192.0.2.1"])).toContain(" 0% packet loss");
    const { text } = await http(node, "127.0.0.1", 5, 9586, "/metrics");
    expect(text).toContain("\nwg_cni_pods_released_total 1\n");
  });

  test("one that is chained, and one whose addresses another IPAM plugin gave: what is ours goes, and that is said", async () => {
    const behind = await addChained("behind", "10.9.0.5");
    const leased = await add(delegated, "leased");
    const lease = "/var/lib/cni/networks/delegated/10.62.0.2";
    expect(node.exec(["test", "-e", lease]).exitCode).toBe(0);
    removeByHand(behind);
    leased.remove();
    expect(await isReleased(behind)).not.toHaveProperty("addressesStayWith");
    expect(await isReleased(leased)).toMatchObject({ addressesStayWith: "host-local" });
    expect(throwRoutes(node).filter((ip) => /^10\.(9|62)\./.test(ip))).toEqual([]);
    expect(node.exec(["test", "-e", lease]).exitCode).toBe(0);
    await succeed(node, "DEL", delegated, leased);
    expect(node.exec(["test", "-e", lease]).exitCode).not.toBe(0);
  });

  test("what may still be a pod is left alone", async () => {
    // A file is left of its path, and a later pod's namespace is seen: that is gone.
    const unmounted = await addChained("unmounted", "10.9.0.6");
    // Its processes live on without a path to their namespace.
    const alive = await add({ ...standalone, ipam: {} }, "alive");
    const routed = await addChained("routed", "10.9.0.7");
    for (const pod of [alive, routed]) {
      pod.start(["sleep", "600"], { timeoutMs: 0 });
      // Asked of this namespace: the machine has other processes of that name.
      await waitUntil(() => node.must(["ip", "netns", "pids", pod.name]) !== "", { what: "its process" });
      node.must(["ip", "netns", "delete", pod.name]);
    }
    const numbered = await addNumbered("numbered");
    const later = await add({ ...standalone, ipam: {} }, "later");
    // In this order: a link goes with its namespace, too, some time later.
    node.script(["ip link delete veth-unmounted", "umount /run/netns/unmounted"]);
    await isReleased(unmounted);
    await agent.waitFor((line) => line.message === kept && of(alive)(line), soonMs, from);
    await agent.waitFor((line) => line.message === kept && of(routed)(line), soonMs, from);
    await longEnough();
    for (const pod of [witness, alive, routed, numbered, later])
      expect(containers()).toContain(pod.containerID);
    // Once each.
    expect([alive, routed, witness, numbered].map(saidOf)).toEqual([[kept], [kept], [], []]);
    expect(linkNames(node)).toContain("veth-routed");
  });

  test("an agent that starts begins anew", async () => {
    const seconds = 10;
    await agent.stop();
    agent = await start(seconds);
    const pod = await addChained("late", "10.9.0.8");
    removeByHand(pod);
    // It has seen that, and is about to believe it.
    await Bun.sleep((seconds - 2) * 1000);
    await agent.stop();
    from = 0;
    agent = await start(seconds);
    const startedMs = Date.parse(agent.lines()[0]!.time);
    const { time } = await isReleased(pod);
    expect(Date.parse(time) - startedMs).toBeGreaterThanOrEqual(seconds * 1000);
  });

  test("an agent that is shown another directory releases nothing, and doubts what it sees", async () => {
    const before = containers();
    await agent.stop();
    from = 0;
    const program = "/run/elsewhere";
    const script = `#!/bin/sh\nexec unshare --mount sh -euc 'mount -t tmpfs tmpfs /run/netns; exec ${binary} "$@"' sh "$@"\n`;
    node.must(["sh", "-c", `cat >${program}; chmod 755 ${program}`], { stdin: script });
    agent = await node.agent({ program, args: ["--release-after", `${waitSeconds}s`] });
    const { message } = await agent.waitFor(
      "The network namespaces of all pods in /run/netns are gone",
      soonMs,
    );
    expect(message).toContain(`until nothing has come back for ${(manyWaits * waitSeconds) / 60}m`);
    await longEnough();
    expect(containers()).toEqual(before);
    expect(agent.lines().filter((line) => line.message === message)).toHaveLength(1);
  });
});

describe("what is seen at the path of a namespace", () => {
  const directory = mkdtempSync(`${tmpdir()}/wg-cni-observation-`);
  afterAll(() => rmSync(directory, { recursive: true }));
  writeFileSync(`${directory}/file`, "");

  test.each([
    [`${directory}/file`, "file"],
    [`${directory}/gone`, "absent"],
    [`${directory}/gone/too`, "unknown"],
    [`${directory}/file/below`, "unknown"],
    ["", "unknown"],
    ["/proc/thread-self/ns/net", "namespace"],
  ] as const)("%s: %s", (path, expected) => {
    expect(observeNetns(path)).toBe(expected);
  });

  test("by the number of a process, only if numbers are the machine's; its own is no pod's", () => {
    const isKnown = isInitialPidNamespace();
    const observations = [`/proc/${process.pid}/ns/net`, "/proc/4194304/ns/net"].map(observeNetns);
    expect(observations).toEqual(isKnown ? ["absent", "absent"] : ["unknown", "unknown"]);
  });
});
