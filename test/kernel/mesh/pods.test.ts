// Live pods and the tunnel's MTU: who follows it, who does not, and what is left
// alone. Witnesses are ip and the store's rows.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type ConfList, readConfList } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import {
  addressing,
  importPeers,
  ipJson,
  missing,
  paperRecord,
  type SyncJson,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";
import { succeed } from "../support/plugin.ts";
import { mainRoutes, snapshot } from "../support/reference.ts";

setDefaultTimeout(60_000);

const ips = [
  { address: "10.9.0.5/24", gateway: "10.9.0.1" },
  { address: "fd00:9::5/64", gateway: "fd00:9::1" },
];
const standaloneList = readConfList(`${repository}/conf/10-wg-cni.conflist`);
const chainedConf = { type: "wg-cni", name: "pods", cniVersion: "1.0.0" };

describe.skipIf(missing !== undefined)("live pods", () => {
  const lab = withLab("pods");
  let node: Node;
  let pods = 0;

  /** Sets the MTU by hand and syncs, which `up` does; what was changed. */
  const setMtu = (mtu: string, exitCode = 0) => up(node, ["--mtu", mtu], exitCode);
  /** Made by hand with an interface of that MTU, and given to wg-cni. */
  const addChained = async (linkMtu: number, conf: object = {}): Promise<Pod> => {
    const pod = node.pod(`c${++pods}`);
    const prevResult = attachByHand(pod, "1.0.0", { hostDev: `veth-c${pods}`, ips });
    pod.must(["ip", "link", "set", "eth0", "mtu", `${linkMtu}`]);
    await succeed(node, "ADD", { ...chainedConf, ...conf, prevResult }, pod);
    return pod;
  };
  const addStandalone = async (conf: object = {}): Promise<Pod> => {
    const pod = node.pod(`s${++pods}`);
    const [plugin] = standaloneList.plugins;
    await node.runtime.add({ ...standaloneList, plugins: [{ ...plugin, ...conf }] } as ConfList, pod);
    return pod;
  };
  const removeChained = async (pod: Pod) => {
    await succeed(node, "DEL", chainedConf, pod);
    removeByHand(pod);
  };
  const removeAndExpect = async (pod: Pod, before: readonly string[]) => {
    await succeed(node, "DEL", chainedConf, pod);
    expect(mainRoutes(pod)).toEqual([...before]);
    removeByHand(pod);
  };
  const removeStandalone = async (pod: Pod) => {
    await node.runtime.del(standaloneList, pod);
    pod.remove();
  };

  beforeAll(async () => {
    const nodes = [await lab.node("n1", addressing(1)), await lab.node("n2", addressing(2))];
    node = nodes[0]!;
    await joinMesh(nodes);
  });
  test("a chained pod follows down and up, but not above its own interface; DEL brings back what was there", async () => {
    const pod = await addChained(1400);
    const before = mainRoutes(pod);
    expect(before.join()).not.toContain("mtu");
    for (const [mtu, shown] of [
      ["1390", " mtu 1390"],
      ["1300", " mtu 1300"],
      ["1440", ""],
      ["1350", " mtu 1350"],
    ] as const) {
      const { steps, failures } = await setMtu(mtu);
      expect(failures).toEqual([]);
      expect(steps.filter((step) => step.includes("POD")).length).toBe(2);
      expect(mainRoutes(pod)).toEqual(before.map((line) => withMtu(line, shown)).sort());
    }
    await removeAndExpect(pod, before);
    await setMtu("default");
  });

  test("both ends of a standalone pod's link follow, and nothing else of it changes", async () => {
    const pod = await addStandalone();
    const before = snapshot(pod);
    expect((await setMtu("1300")).steps.filter((step) => step.includes("POD"))).toEqual([
      "ip -n POD link set eth0 mtu 1300",
    ]);
    expect(snapshot(pod)).toEqual(before.map((line) => line.replace("mtu 1440", "mtu 1300")));
    expect(hostLinkMtus(node)).toEqual([1300]);
    await setMtu("default");
    expect(snapshot(pod)).toEqual(before);
    expect(hostLinkMtus(node)).toEqual([1440]);
    await node.runtime.check(standaloneList, pod);
    await removeStandalone(pod);
  });

  test("an MTU of the network configuration stays", async () => {
    const made = [await addChained(1500, { mtu: 1290 }), await addStandalone({ mtu: 1310 })];
    const before = made.map(snapshot);
    expect(before.map((lines) => lines.join())).toEqual([
      expect.stringContaining("mtu 1290"),
      expect.stringContaining("mtu 1310"),
    ]);
    for (const mtu of ["1300", "1285", "default"]) {
      expect((await setMtu(mtu)).steps.join()).not.toContain("POD");
      expect(made.map(snapshot)).toEqual(before);
    }
    await removeChained(made[0] as Pod);
    await removeStandalone(made[1] as Pod);
  });

  test("pods from before the mesh get its MTU when it comes up", async () => {
    await wgMust(node, ["down"]);
    const [chained, standalone] = [await addChained(1500), await addStandalone()];
    const before = mainRoutes(chained);
    expect(before.join()).not.toContain("mtu");
    expect(hostLinkMtus(node)).toEqual([1500]);
    await up(node, []);
    expect(mainRoutes(chained)).toEqual(before.map((line) => withMtu(line, " mtu 1440")).sort());
    expect(hostLinkMtus(node)).toEqual([1440]);
    await removeAndExpect(chained, before);
    await removeStandalone(standalone);
  });

  test("a namespace that is gone, or is another pod's by now, is passed over", async () => {
    const gone = await addChained(1500);
    removeByHand(gone);
    const taken = await addChained(1500);
    // Of the same name, with the same interface and a default route, but not the pod's address.
    removeByHand(taken);
    const other = node.pod(taken.name);
    attachByHand(other, "1.0.0", {
      hostDev: "veth-other",
      ips: [{ address: "10.9.0.6/24", gateway: "10.9.0.1" }],
    });
    const before = mainRoutes(other);
    const { steps, failures } = await setMtu("1300");
    expect({ failures, inPods: steps.filter((step) => step.includes("POD")) }).toEqual({
      failures: [],
      inPods: [],
    });
    expect(mainRoutes(other)).toEqual(before);
    // A namespace that was unmounted leaves a file.
    node.script([`ip netns delete ${other.name}`, `touch /run/netns/${other.name}`]);
    expect((await setMtu("1310")).failures).toEqual([]);
    for (const pod of [gone, taken]) await succeed(node, "DEL", chainedConf, pod);
    await setMtu("default");
  });

  test("a setting that a pod cannot have is reported, and the other pods get theirs", async () => {
    const [chained, standalone] = [await addChained(1500), await addStandalone()];
    const { failures } = await setMtu("1200", 1);
    expect(failures.map(({ error }) => error).filter((error) => error.includes("container"))).toEqual([
      `Cannot give eth0 of container ${standalone.containerID} the tunnel's MTU of 1200: its address ${standalone.ip(6)} needs at least 1280; set --mtu higher`,
    ]);
    expect(mainRoutes(chained).join()).toContain("mtu 1200");
    expect(hostLinkMtus(node)).toEqual([1440]);
    await setMtu("default");
    await removeChained(chained);
    await removeStandalone(standalone);
  });

  test("a route's own MTU counts, another way to another peer too, and status says which it is", async () => {
    const expectMtu = async (bytes: number, reason: string) => {
      expect((await wgJson<SyncJson>(node, ["sync"])).mtu).toMatchObject({ bytes, reason });
      expect((await node.wg(["status"])).stdout).toContain(`${bytes}  (${reason})`);
    };
    node.must(["ip", "route", "add", "192.0.2.2", "dev", "eth0", "mtu", "1400"]);
    await expectMtu(1340, "the route to 192.0.2.2 (node n2) by eth0 has mtu 1400, less 60 for the tunnel");
    node.script([
      "ip link add narrow mtu 1390 type veth peer name far",
      "ip link set far up",
      "ip link set narrow up",
      "ip route add 198.18.0.7 dev narrow",
    ]);
    await importPeers(node, [paperRecord(7)]);
    await expectMtu(1330, "narrow towards 198.18.0.7 (node paper-7) has 1390, less 60 for the tunnel");
    node.must(["ip", "link", "delete", "narrow"]);
    node.must(["ip", "route", "delete", "192.0.2.2", "dev", "eth0"]);
    await wgMust(node, ["peer", "remove", "paper-7"]);
    await expectMtu(1440, "eth0 towards 192.0.2.2 (node n2) has 1500, less 60 for the tunnel");
  });
});

async function up(node: Node, args: readonly string[], exitCode = 0): Promise<SyncJson> {
  const done = await node.wg(["up", ...node.upArguments, ...args, "--json"]);
  expect(done.exitCode, done.stderr + done.stdout).toBe(exitCode);
  return JSON.parse(done.stdout) as SyncJson;
}

/** A line of `ip route` with what follows in the place of its MTU, where it leads off the node. */
function withMtu(line: string, mtu: string): string {
  if (!/\bvia\b|^default/.test(line)) return line;
  const at = / pref \w+ *$| *$/.exec(line)?.index ?? line.length;
  return `${line.slice(0, at)}${mtu}${line.slice(at)}`;
}

/** MTUs of the node's ends of standalone pods. */
function hostLinkMtus(node: Node): number[] {
  const links = ipJson<{ ifname: string; mtu: number }>(node, "link", "show", "type", "veth");
  return links.filter(({ ifname }) => ifname.startsWith("wgc")).map(({ mtu }) => mtu);
}
