// The commands that faults are tried on: how the host is made ready for each, and how it converges afterwards.
import { attachByHand } from "../../kernel/support/by-hand.ts";
import { importPeers, paperRecord, wgMust } from "../../kernel/support/mesh-reference.ts";
import { succeed } from "../../kernel/support/plugin.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Completed } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type ConfList, pluginEnv, type Verb } from "../../lab/runtime.ts";
import { waitUntil } from "../../lab/wait.ts";

export interface Case {
  readonly name: string;
  /** Takes away what the case before it was allowed to leave. */
  readonly reset?: () => Promise<unknown>;
  readonly prepare: () => Promise<unknown>;
  /** Runs the command behind the arguments of strace(1). */
  readonly run: (trace: readonly string[]) => Promise<Completed>;
  /** Throws if a command that says that it is done has not done it. */
  readonly confirm?: (done: Completed) => Promise<unknown>;
  /** What an operator or a runtime does after a failure, and then what restores the host for the next case. */
  readonly converge: () => Promise<unknown>;
}

/** A hung command is a fault that was found. */
const limitMs = 30_000;
const network =
  '{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"ptp","ipam":{"type":"host-local"}}]}\n';
const nothing = async () => {};

/** Makes the node's mesh, runtime configuration and pods, and returns the cases on it. */
export async function makeCases(node: Node): Promise<Case[]> {
  await joinMesh([node]);
  await importPeers(node, [paperRecord(1), paperRecord(2)]);
  node.script([
    "mkdir -p /etc/cni/net.d /run/bin",
    "cp /usr/lib/cni/ptp /usr/lib/cni/host-local /run/bin",
    `printf '%s' '${network}' >/etc/cni/net.d/10-pods.conflist`,
  ]);
  const [chained, own] = [node.pod("chained"), node.pod("own")];
  const ips = [
    { address: "10.9.0.5/24", gateway: "10.9.0.1" },
    { address: "fd00:9::5/64", gateway: "fd00:9::1" },
  ];
  const prevResult = attachByHand(chained, "1.1.0", { hostDev: "veth-a", ips });
  const plain = { type: "wg-cni", cniVersion: "1.1.0" };
  return [
    ...pluginCases(node, chained, "chained", { ...plain, name: "pods", prevResult }),
    ...pluginCases(node, own, "standalone", { ...plain, name: "own", ipam: {} }),
    serverCase(node, own, { ...plain, name: "own", ipam: {} }),
    ...meshCases(node),
    ...installCases(node),
  ];
}

function pluginCases(node: Node, pod: Pod, role: string, conf: object): Case[] {
  const verb = (name: Verb, more: object = {}) => succeed(node, name, { ...conf, ...more }, pod);
  const collect = () => succeed(node, "GC", { ...conf, "cni.dev/valid-attachments": [] });
  const run =
    (name: Verb, more: object = {}) =>
    (trace: readonly string[]) =>
      node.run([...trace, binary], {
        stdin: JSON.stringify({ ...conf, ...more }),
        env: pluginEnv(name, name === "GC" ? undefined : pod),
        timeoutMs: limitMs,
      });
  const check = ({ stdout }: Completed) => verb("CHECK", { prevResult: JSON.parse(stdout) });
  /** What a removal that met an error may leave in a pod, because the pod is about to end: the next one has none of it. */
  const reset = async () => {
    if (role !== "chained") return;
    const routes = node.script([
      `ip -n ${pod.name} route show default`,
      `ip -n ${pod.name} -6 route show default`,
    ]);
    if (routes.includes("mtu")) node.script(resetRoutes(pod.name));
  };
  const add = { reset, prepare: nothing, run: run("ADD"), confirm: check };
  return [
    { name: `${role} ADD, then DEL`, ...add, converge: () => verb("DEL") },
    { name: `${role} ADD, then GC`, ...add, converge: collect },
    { name: `${role} DEL`, reset, prepare: () => verb("ADD"), run: run("DEL"), converge: () => verb("DEL") },
    {
      name: `${role} GC`,
      reset,
      prepare: () => verb("ADD"),
      run: run("GC", { "cni.dev/valid-attachments": [] }),
      converge: collect,
    },
  ];
}

function resetRoutes(pod: string): string[] {
  return [
    `ip -n ${pod} route replace default via 10.9.0.1 dev eth0 onlink`,
    `ip -n ${pod} -6 route del default`,
    `ip -n ${pod} -6 route add default via fd00:9::1 dev eth0 onlink`,
  ];
}

/** The server is under the fault from its start; the call goes on by its own process, or is to be tried again. */
function serverCase(node: Node, pod: Pod, conf: object): Case {
  const stdin = JSON.stringify(conf);
  const socket = `${node.stateDir}/plugin.sock`;
  const serve = async <T>(trace: readonly string[], during: () => Promise<T>): Promise<T> => {
    const command = [...trace, binary, "plugin-server", "--state-dir", node.stateDir];
    const server = node.start(command, { interactive: true });
    let hasEnded = false;
    void server.finished.then(() => {
      hasEnded = true;
    });
    const isReady = () => hasEnded || node.exec(["test", "-S", socket]).exitCode === 0;
    await waitUntil(isReady, { what: "the plugin server, or its end", everyMs: 5 });
    const result = await during();
    await server.closeInput();
    await server.finished;
    node.must(["rm", "-f", socket]);
    return result;
  };
  const add = () => node.run([binary], { stdin, timeoutMs: limitMs, env: pluginEnv("ADD", pod) });
  return {
    name: "plugin server",
    prepare: nothing,
    run: (trace) => serve(trace, add),
    confirm: ({ stdout }) => succeed(node, "CHECK", { ...conf, prevResult: JSON.parse(stdout) }, pod),
    // The agent starts the server anew, which takes away what the one before it left.
    converge: () => serve([], () => succeed(node, "DEL", conf, pod)),
  };
}

function meshCases(node: Node): Case[] {
  const wg = (...args: string[]) => wgMust(node, args);
  const run =
    (...args: string[]) =>
    (trace: readonly string[]) =>
      node.run([...trace, binary, ...args], { timeoutMs: limitMs });
  const up = ["up", ...node.upArguments];
  /** Something of every kind that a sync makes. */
  const damage = async () =>
    node.script([
      "ip route flush table 18099",
      "ip rule delete priority 98 || true",
      "ip address flush dev wg-cni-a",
      "nft flush ruleset",
      "wg set wg-cni-b listen-port 0",
      "for key in $(wg show wg-cni-a peers); do wg set wg-cni-a peer $key remove; done",
    ]);
  const inSync = () => wg("sync").then(({ stdout }) => stdout);
  return [
    { name: "sync", prepare: damage, run: run("sync"), confirm: noSteps, converge: inSync },
    {
      name: "key rotate --compromised",
      prepare: nothing,
      run: run("key", "rotate", "--compromised"),
      confirm: noSteps,
      converge: inSync,
    },
    {
      name: "down",
      prepare: nothing,
      run: run("down"),
      confirm: async () => expectDown(node),
      converge: async () => {
        await wg("down");
        expectDown(node);
        await wg(...up);
      },
    },
    { name: "up", prepare: () => wg("down"), run: run(...up), confirm: noSteps, converge: () => wg(...up) },
  ];

  async function noSteps(): Promise<void> {
    const { stdout } = await wg("plan", "--json");
    const { steps } = JSON.parse(stdout) as { steps: readonly unknown[] };
    if (steps.length > 0) throw new Error(`It said that it was done, but left ${JSON.stringify(steps)}`);
  }
}

/** A node that is down has no part of the mesh. */
function expectDown(node: Node): void {
  const left = node.script([
    "wg show",
    "nft list tables",
    "ip rule show | grep -v 'lookup \\(local\\|main\\|default\\)' || true",
    "ip route show table 18099 2>/dev/null || true",
    "ip -o link show | grep wg-cni || true",
  ]);
  if (left.trim() !== "") throw new Error(`The node is down and has ${left}`);
}

function installCases(node: Node): Case[] {
  const directories = ["--bin-dir", "/run/bin", "--conf-dir", "/etc/cni/net.d"];
  const install = ["install", ...directories, "--wait", "off"];
  const uninstall = ["uninstall", ...directories];
  const run = (args: readonly string[]) => (trace: readonly string[]) =>
    node.run([...trace, binary, ...args], { timeoutMs: limitMs });
  const isInstalled = async () => {
    const list = JSON.parse(node.must(["cat", "/etc/cni/net.d/10-pods.conflist"])) as ConfList;
    if (list.plugins.at(-1)?.type !== "wg-cni") throw new Error("install succeeded, but is not in the list");
    node.must(["test", "-x", "/run/bin/wg-cni"]);
  };
  const isGone = () => {
    const left = node.script(["ls -A /run/bin", "ls -A /etc/cni/net.d", "cat /etc/cni/net.d/*"]);
    if (left !== `host-local\nptp\n10-pods.conflist\n${network}`)
      throw new Error(`After uninstall there is ${left}`);
  };
  const remove = async () => {
    await wgMust(node, uninstall);
    isGone();
  };
  return [
    { name: "install", prepare: nothing, run: run(install), confirm: isInstalled, converge: remove },
    {
      name: "install, then install",
      prepare: nothing,
      run: run(install),
      converge: async () => {
        await wgMust(node, install);
        await isInstalled();
        await remove();
      },
    },
    {
      name: "uninstall",
      prepare: () => wgMust(node, install),
      run: run(uninstall),
      confirm: async () => isGone(),
      converge: remove,
    },
  ];
}
