// The DaemonSet's pod as its manifest has it: the image that the recipe makes, run
// in a node of a lab by podman with the manifest's rights, mounts and restrictions
// and no others, beside an API server and another node. It installs, encrypts and
// follows pods' MTU; each of its rights and mounts is needed; it is restarted and
// leaves without losing a packet, and nothing stays behind.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Client, socketPath } from "../kernel/plugin-server/support.ts";
import { addNode, routeLines, tables } from "../kernel/support/mesh-reference.ts";
import { addressesOf, linkNames } from "../kernel/support/reference.ts";
import {
  type Container,
  containerPid,
  type PodSpec,
  prepareForContainers,
  signalContainer,
  startContainer,
} from "../lab/container.ts";
import { buildImage, imageBytes, imageFiles } from "../lab/image.ts";
import type { Node } from "../lab/node.ts";
import { binary, repository } from "../lab/paths.ts";
import type { Pod } from "../lab/pod.ts";
import { type CniResult, type ConfList, readConfList, type Verb, withoutPlugin } from "../lab/runtime.ts";
import { eachWay, losses, Streams } from "../lab/stream.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { giveAccount, registerNode, startAgent } from "./support/join.ts";
import { readObjects } from "./support/manifests.ts";
import { recordPath } from "./support/nodes.ts";
import { withApiServer } from "./support/with-api-server.ts";

const binDir = "/opt/cni/bin";
const plugin = `${binDir}/wg-cni`;
/** The service that starts the devices waits for this file. */
const mayServe = "/run/may-serve";
const confFile = "/etc/cni/net.d/10-ptp.conflist";
const validMark = "/proc/sys/net/ipv4/conf/eth0/src_valid_mark";
const original = `${JSON.stringify(withoutPlugin(readConfList(`${repository}/conf/10-ptp.conflist`), "wg-cni"), null, 4)}\n`;
/** Anything between API, agents and kernel on a busy machine. */
const soonMs = 60_000;
const testMs = 180_000;

interface Doctor {
  readonly findings: readonly { readonly check: string; readonly level: string }[];
}

function readSpec(file: string): PodSpec {
  const objects = readObjects(readFileSync(`${repository}/conf/${file}`, "utf8"));
  return objects.find(({ kind }) => kind === "DaemonSet")?.["spec"].template.spec;
}

describeKube("the DaemonSet's pod", () => {
  setDefaultTimeout(testMs);
  const installing = readSpec("wg-cni.yaml");
  const uninstalling = readSpec("wg-cni-uninstall.yaml");
  const [agent] = installing.containers;
  const lab = withLab("daemonset");
  const server = withApiServer(lab, ["crd", "rbac", "policy"]);
  let directory: string;
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;

  beforeAll(async () => {
    directory = `${lab.sharedDirectory}/podman`;
    mkdirSync(directory);
    buildImage(directory);
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    for (const node of [n1, n2]) {
      node.strictReversePath();
      await registerNode(server, node);
      await giveAccount(server, node);
    }
    prepareForContainers(n1);
    n1.script([
      "mount -t tmpfs tmpfs /opt",
      `mkdir -p ${binDir} /etc/cni/net.d`,
      `cp /usr/lib/cni/ptp /usr/lib/cni/host-local ${binDir}`,
    ]);
    writeFileSync(n1.outsidePath(confFile), original);
    // conf/wg-cni-userspace.service does the same: this kernel has no WireGuard, and the container no program for one.
    const serve = `while sleep 1; do [ ! -e ${mayServe} ] || [ ! -x ${plugin} ] || ${plugin} userspace; done`;
    n1.start(["sh", "-c", serve], { timeoutMs: 0, onStderrLine: (line) => service.push(line) });
    await startAgent(n2);
    p2 = n2.pod("p2");
    await n2.runtime.add(readConfList(`${repository}/conf/10-bridge.conflist`), p2);
  }, 400_000);

  const service: string[] = [];
  let log: string[] = [];
  const start = (spec: PodSpec, container: Container) => {
    log = [];
    const onStderrLine = (line: string) => {
      log.push(line);
    };
    return startContainer(n1, directory, spec, container, { timeoutMs: 0, onStderrLine });
  };
  let running: ReturnType<typeof start> | undefined;
  let ended = true;
  const pid = () => containerPid(n1, directory, agent);

  /** The init step to its end, then the agent. */
  async function startPod(spec: PodSpec): Promise<void> {
    const [init] = spec.initContainers;
    const done = await start(spec, init).finished;
    expect(done).toMatchObject({ exitCode: 0 });
    await startMain(spec);
  }
  async function startMain(spec: PodSpec): Promise<void> {
    running = start(spec, spec.containers[0]);
    void running.finished.then(() => {
      ended = true;
    });
    ended = false;
    await waitUntil(() => ended || pid() > 0, {
      what: () => `the agent's container runs: ${log.join("\n")}`,
    });
  }
  /** As the kubelet does: SIGTERM, and SIGKILL when the time is over. */
  async function stopPod(signal: "TERM" | "KILL" = "TERM"): Promise<void> {
    if (!ended) signalContainer(n1, directory, agent, signal);
    const graceMs = 1000 * Number(installing["terminationGracePeriodSeconds"]);
    await Promise.race([running?.finished, Bun.sleep(graceMs)]);
    if (!ended) signalContainer(n1, directory, agent, "KILL");
    await running?.finished;
  }
  /** The command of the probe; the agent's socket is in the state directory, which is the node's. */
  const probe = async (name: "livenessProbe" | "readinessProbe") => {
    const [, ...args] = (agent[name] as { exec: { command: string[] } }).exec.command;
    const { exitCode, stdout } = await n1.wg(args);
    return { ok: exitCode === 0, text: stdout.trim() };
  };
  const ready = () =>
    waitUntil(async () => (await probe("readinessProbe")).ok, {
      what: () => `the agent is ready, which said:\n${[...log.slice(-15), ...service].join("\n")}`,
      timeoutMs: soonMs,
    });
  const encrypts = (node: Node, cidr: string) =>
    routeLines(node, 4, tables.pods).join().includes(`${cidr} dev wg-cni-`);
  const bothEncrypt = () =>
    waitUntil(() => encrypts(n1, "10.244.2.0/24") && encrypts(n2, "10.244.1.0/24"), {
      what: () => `both nodes encrypt; ${log.slice(-10).join("\n")}`,
      timeoutMs: soonMs,
    });
  const podMtu = () => /mtu (\d+)/.exec(p1.must(["ip", "route", "show", "default"]))?.[1];
  const list = () => JSON.parse(readFileSync(n1.outsidePath(confFile), "utf8")) as ConfList;

  test("the image is the executable and the libraries that it loads", () => {
    const files = imageFiles(directory).filter((path) => !path.endsWith("/"));
    const own = files.filter((path) => !/^(dev|etc|proc|sys|run|\.dockerenv)/.test(path));
    expect(own.filter((path) => !/\/(ld-linux|lib(c|m|dl|pthread)\.so)/.test(path))).toEqual(["wg-cni"]);
    expect(own).toHaveLength(6);
    // 3 MB of libraries.
    expect(imageBytes(directory) - readFileSync(binary).length).toBeLessThan(5_000_000);
  });

  test("the init step installs, the agent makes the mesh, pods talk through it", async () => {
    await startPod(installing);
    expect(list().plugins.map(({ type }) => type)).toEqual(["ptp", "wg-cni"]);
    const isSame = readFileSync(n1.outsidePath(plugin)).equals(readFileSync(binary));
    expect(isSame, `the image, made of src, has the executable of ${binary} (npm run build)`).toBe(true);
    // Until the service has started the devices, the agent says what is so and what to do.
    const withdrawn = () => log.filter((line) => line.includes("slot withdrawn"));
    await waitUntil(() => withdrawn().length > 0, { what: () => `slots withdrawn: ${log.join("\n")}` });
    for (const line of withdrawn()) expect(line).toContain("wg-cni-userspace.service");
    n1.must(["touch", mayServe]);
    p1 = n1.pod("p1");
    await n1.runtime.add(list(), p1, { binDir });
    await ready();
    await bothEncrypt();
    expect(p1.must(["ping", "-q", "-c", "3", "-i", "0.2", p2.ip(4)])).toContain(" 0% packet loss");
    expect(await probe("livenessProbe")).toEqual({ ok: true, text: "ok" });
    expect(await server.admin.find(recordPath("n1"))).toMatchObject({ spec: { endpoints: n1.nodeIps } });
  });

  test("its plugin server attaches pods, though neither their namespaces' paths nor /proc/sys are its own", async () => {
    const conf = {
      ...{ cniVersion: "1.1.0", name: "served", type: "wg-cni" },
      ipam: { ranges: [[{ subnet: "10.9.0.0/24" }], [{ subnet: "fd00:9::/64" }]] },
    };
    const pod = n1.pod("served");
    // As container runtimes leave a pod's namespace on a host without IPv6.
    pod.script(["for name in all default lo; do echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done"]);
    const serve = (verb: Verb, more: object = {}) => {
      using client = new Client(n1);
      const call = client.callFor(verb, { ...conf, ...more }, pod);
      client.send({ ...call, env: { ...call.env, CNI_NETNS: "/nowhere/served" } }, pod);
      const { kinds, texts } = client.rest();
      expect({ kinds, exit: texts["exit"] }, JSON.stringify(texts)).toEqual({
        ...{ kinds: ["hello", ...(verb === "ADD" ? ["stdout"] : []), "exit"], exit: "0" },
      });
      return JSON.parse(texts["stdout"] ?? "{}") as CniResult;
    };
    await waitUntil(() => existsSync(socketPath(n1)), { what: "the plugin server" });
    const prevResult = serve("ADD");
    expect(addressesOf(pod, "eth0")).toEqual(["10.9.0.2/32", "fd00:9::2/128"]);
    serve("CHECK", { prevResult });
    serve("DEL", { prevResult });
    expect(linkNames(pod)).toEqual(["lo"]);
  });

  test("doctor and status on the node are content, but for the kernel without WireGuard", async () => {
    let seen = "";
    const look = async () => {
      const [status, doctor] = await Promise.all([n1.wg(["status"]), n1.wg(["doctor", "--json"])]);
      const { findings } = JSON.parse(doctor.stdout) as Doctor;
      const complaints = findings.filter(({ level }) => level !== "ok").map(({ check }) => check);
      seen = `${status.exitCode} ${doctor.exitCode} ${complaints}`;
      return seen === "0 0 wireguard";
    };
    // What the first handshakes change is there soon.
    await waitUntil(look, { what: () => `both are content, not ${seen}`, timeoutMs: soonMs });
    // The kubelet makes the directory for everybody to read.
    expect(n1.must(["stat", "-c", "%a", "/var/lib/wg-cni"])).toBe("700\n");
  });

  test("it has the manifest's rights and restrictions", () => {
    const status = n1.must(["cat", `/proc/${pid()}/status`]);
    for (const set of ["CapPrm", "CapEff", "CapBnd"])
      expect(status).toMatch(new RegExp(`${set}:\\s0+a01000\n`));
    expect(status).toMatch(/NoNewPrivs:\s1\n/);
    expect(status).toMatch(/Seccomp:\s2\n/);
    const mounts = n1.must(["cat", `/proc/${pid()}/mounts`]).split("\n");
    expect(mounts.find((line) => line.split(" ")[1] === "/")).toMatch(/ ro,/);
    expect(mounts.find((line) => line.split(" ")[1] === "/proc/sys")).toMatch(/ ro,/);
  });

  test("a pod that is there follows the tunnel's MTU", async () => {
    n1.must(["ip", "link", "set", "eth0", "mtu", "1400"]);
    await waitUntil(() => podMtu() === "1320", {
      what: () => `the pod's route has MTU 1320, not ${podMtu()}`,
    });
    n1.must(["ip", "link", "set", "eth0", "mtu", "1500"]);
    await waitUntil(() => podMtu() === "1420", {
      what: () => `the pod's route has MTU 1420, not ${podMtu()}`,
    });
  });

  test("without any one of its rights or mounts something is not done, and the log says what", async () => {
    for (const [what, spec, says] of [
      ["NET_ADMIN", withoutRight("NET_ADMIN"), "EPERM"],
      ["SYS_ADMIN", withoutRight("SYS_ADMIN"), `Cannot enter network namespace ${p1.netns}: EPERM`],
      ["sysctls", withoutMount("sysctls"), "/src_valid_mark: EROFS"],
      ["wireguard", withoutMount("wireguard"), "/var/run/wireguard/wg-cni-a.sock"],
      ["plugins", withoutMount("plugins"), `There is no directory ${binDir}`],
      ["networks", withoutMount("networks"), "There is no network configuration yet"],
    ] as const) {
      await stopPod();
      damage();
      await startMain(spec);
      const said = () => log.some((line) => line.includes(says));
      await waitUntil(said, { what: () => `without ${what} it says "${says}", and not:\n${log.join("\n")}` });
    }
    await stopPod();
    damage();
    await startMain(withoutMount("netns"));
    await ready();
    expect(n1.must(["cat", validMark])).toBe("1\n");
    expect(podMtu()).toBe("1200");
    await stopPod();
    await startMain(installing);
    await ready();
    expect(podMtu()).toBe("1420");
    await bothEncrypt();
  });

  test("restarted and killed under streams between pods it loses nothing", async () => {
    const streams = await Streams.start(eachWay([[p1, p2]], 4), { rate: 500 });
    await stopPod();
    await startPod(installing);
    await ready();
    await stopPod("KILL");
    await startPod(installing);
    await ready();
    const results = await streams.stop();
    expect(losses(results)).toEqual({});
    expect(log.filter((line) => / (warn|error) /.test(line))).toEqual([]);
  });

  test("uninstalled under streams it loses nothing, and leaves the node as it was", async () => {
    const streams = await Streams.start(eachWay([[p1, p2]], 4), { rate: 500 });
    await Bun.sleep(500);
    await stopPod();
    await startPod(uninstalling);
    await waitUntil(() => log.some((line) => line.includes("has left the mesh")), {
      what: () => log.join("\n"),
    });
    await ready();
    await Bun.sleep(500);
    expect(losses(await streams.stop())).toEqual({});
    expect(readFileSync(n1.outsidePath(confFile), "utf8")).toBe(original);
    // The lock is podman's.
    const networks = readdirSync(n1.outsidePath("/etc/cni/net.d")).filter((name) => name !== "cni.lock");
    expect(networks).toEqual(["10-ptp.conflist"]);
    expect(readdirSync(n1.outsidePath(binDir)).sort()).toEqual(["host-local", "ptp"]);
    expect(traces()).toEqual([]);
    expect(encrypts(n2, "10.244.1.0/24")).toBe(false);
    // Again, as on a node that has restarted meanwhile.
    await stopPod();
    await startPod(uninstalling);
    await ready();
    expect(traces()).toEqual([]);
  });

  test("installed again it is in the mesh again, with the keys that it had", async () => {
    const before = await server.admin.find(recordPath("n1"));
    expect(before?.["spec"].slots ?? []).toEqual([]);
    await stopPod();
    await startPod(installing);
    await ready();
    await bothEncrypt();
    expect(list().plugins.map(({ type }) => type)).toEqual(["ptp", "wg-cni"]);
    await n1.runtime.del(list(), p1, { binDir });
    await stopPod();
  });

  const withoutRight = (right: string): PodSpec => {
    const { capabilities, ...rest } = agent.securityContext;
    const add = capabilities.add?.filter((one) => one !== right) ?? [];
    return withAgent({ ...agent, securityContext: { ...rest, capabilities: { ...capabilities, add } } });
  };
  const withoutMount = (name: string): PodSpec =>
    withAgent({ ...agent, volumeMounts: agent.volumeMounts.filter((mount) => mount.name !== name) });
  const withAgent = (container: Container): PodSpec => ({ ...installing, containers: [container] });

  /** Everything that the agent has to bring back; nobody is there who would. */
  function damage(): void {
    n1.script([`echo 0 >${validMark}`, "nft delete table inet wg-cni || true"]);
    p1.script(["ip route change $(ip route show default | sed 's/ mtu.*//') mtu 1200"]);
  }

  /** Of ours in the kernel. */
  function traces(): string[] {
    const commands = ["ip -o link", "ip rule", "ip -6 rule", "ip route show table all", "nft list tables"];
    const lines = commands.flatMap((command) => n1.must(command.split(" ")).split("\n"));
    return lines.filter((line) => /wg-cni|lookup 1809|table 1809|goto/.test(line));
  }
}, ["podman", "crun", "npm", "wireguard-go", "/usr/lib/cni/ptp"]);
