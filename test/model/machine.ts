// A lab node that actions are done to: its namespaces for pods, the driver in it, an agent. It knows the commands and
// not what they should do.
import { mkdirSync, rmSync } from "node:fs";
import type { Agent } from "../lab/agent.ts";
import type { Lab } from "../lab/lab.ts";
import type { Node } from "../lab/node.ts";
import { binary, cniPath } from "../lab/paths.ts";
import type { CniResult } from "../lab/runtime.ts";
import { type Boot, type PodName, podNames } from "./actions.ts";
import type { Invocation, Order, Reply } from "./driver.ts";
import { chainedIps, isChained, nodePodCidrs, subnets } from "./model.ts";

export type PodVerb = "ADD" | "DEL" | "CHECK";

/** It outlives a boot; /etc, where the key is by default, does not in a lab. */
const sealKeyFile = "/var/lib/seal/seal.key";
const replyTimeoutMs = 60_000;

export class Machine {
  #node: Node;
  #driver: Driver;
  #agent: Agent | undefined;
  /** What the runtime has kept of each ADD. */
  readonly results = new Map<PodName, CniResult>();

  private constructor(
    private readonly lab: Lab,
    private readonly program: string,
    node: Node,
  ) {
    this.#node = node;
    this.#driver = new Driver(node, program);
  }

  /** `program`: the driver as one file, which starts in a quarter of the time. */
  static async create(lab: Lab, program: string): Promise<Machine> {
    const storage = `${lab.sharedDirectory}/storage`;
    rmSync(storage, { recursive: true, force: true });
    mkdirSync(`${storage}/seal`, { recursive: true });
    const options = { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: nodePodCidrs, storage };
    const machine = new Machine(lab, program, await lab.node("n1", options));
    machine.#prepare();
    return machine;
  }

  get node(): Node {
    return this.#node;
  }

  get upArguments(): string[] {
    return [...this.#node.upArguments, "--seal-key-file", sealKeyFile];
  }

  /** The command line, in the driver's process. */
  async cli(argv: readonly string[], stdin = ""): Promise<Reply> {
    const [reply] = await this.order({ run: [{ argv, stdin }] });
    return reply as Reply;
  }

  order(order: Order): Promise<Reply[]> {
    return this.#driver.order(order);
  }

  /** Calls of the plugin: in turn in the driver's process, or `apart`, each in a process of its own at the same time. */
  async calls(invocations: readonly Invocation[], apart: boolean): Promise<Reply[]> {
    return this.order({ ...(apart ? { program: binary } : {}), run: invocations });
  }

  /** A shell's output in the node. */
  async shell(lines: readonly string[]): Promise<string> {
    const [reply] = await this.order({ program: "/bin/sh", run: [{ argv: ["-euc", lines.join("\n")] }] });
    if (reply?.exitCode !== 0) throw new Error(`${lines.join("\n")}: ${reply?.stderr}`);
    return reply.stdout;
  }

  /** `told`: with the result of its ADD, if there was one. */
  podCall(verb: PodVerb, pod: PodName, told = true): Invocation {
    const prevResult = verb === "ADD" ? undefined : this.results.get(pod);
    const before = isChained(pod) && (verb === "ADD" || told) ? madeByHand(pod) : undefined;
    const known = before ?? (told ? prevResult : undefined);
    const env = {
      ...{ CNI_COMMAND: verb, CNI_CONTAINERID: pod, CNI_NETNS: netnsOf(pod), CNI_IFNAME: "eth0" },
      CNI_PATH: cniPath.join(":"),
    };
    return { env, stdin: JSON.stringify({ ...confOf(pod), ...(known ? { prevResult: known } : {}) }) };
  }

  /** One call for each network. */
  gcCalls(valid: readonly PodName[]): Invocation[] {
    return [false, true].map((chained) => {
      const pod = podNames.find((name) => isChained(name) === chained) as PodName;
      const attachments = valid.map((containerID) => ({ containerID, ifname: "eth0" }));
      return {
        env: { CNI_COMMAND: "GC", CNI_PATH: cniPath.join(":") },
        stdin: JSON.stringify({ ...confOf(pod), "cni.dev/valid-attachments": attachments }),
      };
    });
  }

  lose(pod: PodName): Promise<string> {
    return this.shell([
      `ip -n ${pod} link delete eth0 2>/dev/null || true`,
      `ip netns delete ${pod}`,
      ...makePod(pod),
    ]);
  }

  async startAgent(): Promise<void> {
    this.#agent ??= await this.#node.agent();
  }

  async stopAgent(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  async boot(fresh: Boot): Promise<void> {
    await this.stopAgent();
    const id = "/proc/sys/kernel/random/boot_id";
    if (fresh === "id") {
      await this.shell([
        "cat /proc/sys/kernel/random/uuid >/run/next_id",
        `[ -e /run/boot_id ] || { cp ${id} /run/boot_id; mount --bind /run/boot_id ${id}; }`,
        "cat /run/next_id >/run/boot_id",
      ]);
      return;
    }
    const before = (await this.shell([`cat ${id}`])).trim();
    this.#driver.end();
    // The same number of the boot, if only the network is new.
    this.#node = await this.lab.reboot(
      this.#node,
      fresh === "network" ? [`echo ${before} >/run/boot_id`] : [],
    );
    this.#driver = new Driver(this.#node, this.program);
    this.#prepare();
  }

  /** Nothing of the state is left for the next sequence. */
  forget(): Promise<string> {
    this.results.clear();
    return this.shell([`rm -rf ${this.#node.stateDir}`]);
  }

  async end(): Promise<void> {
    await this.stopAgent();
    this.#driver.end();
    this.lab.remove(this.#node);
  }

  #prepare(): void {
    this.#node.script(podNames.flatMap(makePod));
  }
}

/** Sends orders to the process in the node. */
class Driver {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  constructor(node: Node, program: string) {
    this.#child = Bun.spawn(["nsenter", ...node.enter, "--", process.execPath, program], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      env: { PATH: process.env["PATH"] ?? "" },
    });
    this.#lines = linesOf(this.#child.stdout);
  }

  async order(order: Order): Promise<Reply[]> {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`);
    this.#child.stdin.flush();
    const timer = setTimeout(() => this.end(), replyTimeoutMs);
    const { value, done } = await this.#lines.next();
    clearTimeout(timer);
    if (done === true)
      throw new Error(`The driver ended, or took ${replyTimeoutMs} ms: ${JSON.stringify(order)}`);
    return JSON.parse(value) as Reply[];
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    text = lines.pop() as string;
    yield* lines;
  }
}

function netnsOf(pod: PodName): string {
  return `/run/netns/${pod}`;
}

function confOf(pod: PodName): object {
  const own = { name: "own", ipam: { ranges: subnets.map((subnet) => [{ subnet }]) } };
  return { type: "wg-cni", cniVersion: "1.1.0", ...(isChained(pod) ? { name: "chained" } : own) };
}

/** The shell lines of a namespace; with what a main plugin would have made, if there is one. */
function makePod(pod: PodName): string[] {
  const inPod = `ip -n ${pod}`;
  const lines = [`ip netns add ${pod}`, `${inPod} link set lo up`];
  if (!isChained(pod)) return lines;
  const hostDev = hostDevOf(pod);
  const ips = chainedIps(pod);
  return [
    ...lines,
    `ip link add ${hostDev} type veth peer name eth0 netns ${pod}`,
    `ip link set ${hostDev} addrgenmode none up`,
    `${inPod} link set eth0 up`,
    ...ips.flatMap((ip) => {
      const [length, gateway, flags] = ip.includes(":")
        ? [64, "fd00:8::ff", "nodad"]
        : [24, "10.8.0.254", ""];
      return [
        `${inPod} address add ${ip}/${length} dev eth0 ${flags}`,
        `${inPod} route add default via ${gateway} dev eth0`,
        `ip route add ${ip} dev ${hostDev}`,
      ];
    }),
  ];
}

function hostDevOf(pod: PodName): string {
  return `veth-${pod}`;
}

function madeByHand(pod: PodName): CniResult {
  return {
    cniVersion: "1.1.0",
    interfaces: [{ name: hostDevOf(pod) }, { name: "eth0", sandbox: netnsOf(pod) }],
    ips: chainedIps(pod).map((ip) => ({
      ...{ address: `${ip}/${ip.includes(":") ? 64 : 24}`, interface: 1 },
      gateway: ip.includes(":") ? "fd00:8::ff" : "10.8.0.254",
    })),
  };
}
