// What the product leaves open on a node. To pods: no socket in their namespaces, no abstract one, none of the agent's
// that a packet of theirs reaches. To other users and to whoever copies files: nothing can be read of the sockets'
// directories, of the store and its copies, the damaged one that a repair keeps among them.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { http, serveHttp } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import { addNode, wgDump } from "../support/mesh-reference.ts";

const metricsPort = 9586;
const othersBits = 0o077;
/** Whoever connects to a socket needs the right to write. */
const othersWrite = 0o022;
/** Files of /proc/net with one line for each socket, and the columns of a line that say what it is. */
const socketFiles = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "unix"];
/** The kernel's own sockets have the number 0 in the column of the process. */
const netlinkPid = 2;

describeKernel("what is left open", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("open");
  let nodes: readonly [Node, Node];
  let pods: readonly Pod[];
  let agents: readonly Agent[];

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2)];
    ({ agents } = await joinByRecords(nodes));
    pods = await addPods(nodes);
    await awaitTunnels(nodes);
  });

  /** The sockets of a namespace, whoever has them. */
  const sockets = (space: Namespaces): string[] => {
    const read = (file: string) =>
      space
        .must(["cat", `/proc/net/${file}`])
        .trim()
        .split("\n")
        .slice(1);
    const netlink = read("netlink").filter((line) => line.trim().split(/\s+/)[netlinkPid] !== "0");
    return [...socketFiles.flatMap((file) => read(file).map((line) => `${file} ${line}`)), ...netlink];
  };

  test("a pod's namespace has no socket of ours; the control has one of a server", async () => {
    for (const pod of pods) expect([pod.name, sockets(pod)]).toEqual([pod.name, []]);
    const [pod] = pods as [Pod];
    const server = await serveHttp(pod, "here");
    expect(sockets(pod).length).toBeGreaterThan(0);
    await server.stop("SIGKILL");
  });

  test("a node has no abstract socket, and listens to itself only", () => {
    for (const node of nodes) {
      expect(node.must(["cat", "/proc/net/unix"])).not.toContain("@");
      const listening = node.must(["ss", "-Hltn"]).trim().split("\n");
      expect(listening.map((line) => line.split(/\s+/)[3])).toEqual([`127.0.0.1:${metricsPort}`]);
    }
  });

  test("no pod reaches the metrics, by any address of the node", async () => {
    const [node] = nodes;
    const addresses = [node.ip(4), node.ip(6), "127.0.0.1", "169.254.1.1"] as const;
    for (const pod of pods)
      for (const address of addresses)
        expect((await http(pod, address as string, 2, metricsPort, "/metrics")).ok).toBe(false);
    expect((await http(node, "127.0.0.1", 5, metricsPort, "/metrics")).text).toContain("wg_cni_");
  });

  test("sockets and files of the state are for root only, and no daemon has any of them open", () => {
    for (const node of nodes) {
      expect(statSync(node.outsidePath(node.stateDir)).mode & othersBits).toBe(0);
      const found = node.must(["find", node.stateDir, "/run/wireguard", "-type", "s"]).trim().split("\n");
      expect(found.length).toBe(4);
      for (const path of found)
        expect([path, statSync(node.outsidePath(path)).mode & othersWrite]).toEqual([path, 0]);
    }
    const daemons = readdirSync("/proc").filter((pid) => isDaemonOf(pid, nodes));
    expect(daemons.length).toBe(4);
    for (const pid of daemons)
      for (const fd of readdirSync(`/proc/${pid}/fd`))
        expect(readlinkSync(`/proc/${pid}/fd/${fd}`)).not.toContain("wg-cni/");
  });

  test("copies of the store say nothing and are for root only, the damaged one that a repair keeps too", async () => {
    const [node] = nodes;
    const secrets = Object.values(wgDump(node)).flatMap(({ privateKey }) => {
      const key = Buffer.from(privateKey, "base64");
      return [key, Buffer.from(privateKey.slice(0, 42)), Buffer.from(key.toString("hex"))];
    });
    await Promise.all(agents.map((agent) => agent.stop()));
    const state = `${node.stateDir}/state.db`;
    // The first tables, also as the log has them.
    node.script([
      `rm -f ${state}-wal ${state}-shm`,
      `head -c 8192 /dev/zero | dd of=${state} bs=4096 seek=2 conv=notrunc status=none`,
    ]);
    const repaired = await node.wg(["doctor", "--repair"]);
    const names = readdirSync(node.outsidePath(node.stateDir)).filter((name) => /state|identity/.test(name));
    expect(names.filter((name) => name.includes("damaged")).length, repaired.stdout).toBeGreaterThan(0);
    expect(names).toContain("identity.json");
    for (const name of names) {
      const path = node.outsidePath(`${node.stateDir}/${name}`);
      expect([name, statSync(path).mode & othersBits]).toEqual([name, 0]);
      const bytes = readFileSync(path);
      expect([name, secrets.some((secret) => bytes.includes(secret))]).toEqual([name, false]);
    }
  });
}, ["wireguard-go", "wg", "ss"]);

function isDaemonOf(pid: string, nodes: readonly Node[]): boolean {
  try {
    if (readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "wireguard-go") return false;
    const netns = readlinkSync(`/proc/${pid}/ns/net`);
    return nodes.some((node) => readlinkSync(node.netns) === netns);
  } catch {
    return false;
  }
}
