// Two nodes with agents and a records directory, one of which is rebooted: what
// its disk has stays, what its kernel, /etc and /run had is gone. The other one runs
// on and has the first as it was.
import { mkdirSync, readFileSync } from "node:fs";
import type { NodeRecord } from "../../../../src/net/record.ts";
import type { Agent } from "../../../lab/agent.ts";
import type { Lab } from "../../../lab/lab.ts";
import type { Running } from "../../../lab/namespaces.ts";
import type { Node } from "../../../lab/node.ts";
import { answering, paths, probePaths } from "../../../lab/path-matrix.ts";
import { repository } from "../../../lab/paths.ts";
import type { Pod } from "../../../lab/pod.ts";
import { readConfList } from "../../../lab/runtime.ts";
import { waitUntil } from "../../../lab/wait.ts";
import { addressing, wgJson, wgMust } from "../../support/mesh-reference.ts";

/** A key file that outlives a boot; the default one is below /etc, which does not in these labs. */
export const lastingSealKey = "/var/lib/seal.key";
export const volatileSealKey = "/etc/wg-cni/seal.key";

export interface RebootOptions {
  readonly mode: "permissive" | "strict";
  readonly sealKey: string;
  /** False: records are handed over once, by hand. */
  readonly announced?: boolean;
}

export class RebootContext {
  n1!: Node;
  n2!: Node;
  p1!: Pod;
  p2!: Pod;
  agent!: Agent;

  private constructor(
    readonly lab: Lab,
    readonly options: RebootOptions,
  ) {}

  /** Resolves when every path between the nodes answers, through the tunnel. */
  static async create(lab: Lab, options: RebootOptions): Promise<RebootContext> {
    const context = new RebootContext(lab, options);
    await context.#begin();
    return context;
  }

  /** `before`: what is there when the agent starts. */
  async reboot(before: (node: Node) => unknown = () => {}): Promise<void> {
    this.n1 = await this.lab.reboot(this.n1);
    await before(this.n1);
    this.agent = await this.n1.agent();
  }

  /** A pod on the node that was rebooted; its ADD's warnings are in the node's plugin.log. */
  async addPod(name: string): Promise<void> {
    this.p1 = this.n1.pod(name);
    await this.n1.runtime.add(readConfList(`${repository}/conf/10-ptp.conflist`), this.p1);
  }

  /** Waits until all paths between the nodes answer, in both families. */
  async answersEverywhere(): Promise<void> {
    for (const family of [4, 6] as const) {
      let seen: readonly string[] = [];
      const all = async () => {
        seen = answering(await probePaths(this.p1, this.p2, family));
        return seen.length === paths.length;
      };
      await waitUntil(all, {
        what: () => `all paths answer; these do: ${seen.join(", ")}`,
        timeoutMs: 60_000,
      });
    }
  }

  /** Waits until nothing between pods can be read on the wire, as gates open. */
  async encryptsEverywhere(): Promise<void> {
    const inTunnel = async () => (await this.readable()) === 0;
    await waitUntil(inTunnel, { what: "all of it is encrypted", timeoutMs: 60_000 });
  }

  /** Packets between pods that could be read on the wire while all paths were tried. */
  async readable(): Promise<number> {
    const capture = await this.lab.capture();
    for (const family of [4, 6] as const) await probePaths(this.p1, this.p2, family);
    const { packets } = await capture.tally();
    await capture.stop();
    return packets.plaintext;
  }

  /** The states of the slots, as the other node can read them. */
  announced(): Record<string, string> {
    const text = readFileSync(`${this.lab.sharedDirectory}/records/n1.json`, "utf8");
    return Object.fromEntries((JSON.parse(text) as NodeRecord).slots.map(({ slot, state }) => [slot, state]));
  }

  /** Returns the finding of one check of `wg-cni doctor` on the first node. */
  async finding(name: string): Promise<{ level: string; details?: string[] } | undefined> {
    const { stdout } = await this.n1.wg(["doctor", "--json"]);
    const { findings } = JSON.parse(stdout) as { findings: { check: string; level: string }[] };
    return findings.find(({ check }) => check === name);
  }

  async #begin(): Promise<void> {
    const { mode, sealKey, announced = true } = this.options;
    const records = `${this.lab.sharedDirectory}/records`;
    const nodes: Node[] = [];
    for (const index of [1, 2]) {
      const storage = `${this.lab.sharedDirectory}/disks/n${index}`;
      mkdirSync(storage, { recursive: true });
      nodes.push(await this.lab.node(`n${index}`, { ...addressing(index), storage }));
    }
    mkdirSync(records);
    const options = [
      "--mode",
      mode,
      "--seal-key-file",
      sealKey,
      ...(announced ? ["--records-dir", records] : []),
    ];
    for (const node of nodes) await wgMust(node, ["up", ...node.upArguments, ...options]);
    [this.n1, this.n2] = nodes as [Node, Node];
    if (!announced) await this.exchange();
    this.agent = await this.n1.agent();
    await this.n2.agent();
    await this.addPod("p1");
    this.p2 = this.n2.pod("p2");
    await this.n2.runtime.add(readConfList(`${repository}/conf/10-bridge.conflist`), this.p2);
    await this.answersEverywhere();
    await this.encryptsEverywhere();
  }

  /** Each has the other one's record, by hand. */
  async exchange(): Promise<void> {
    const [one, two] = [
      await wgJson<NodeRecord>(this.n1, ["node", "show"]),
      await wgJson<NodeRecord>(this.n2, ["node", "show"]),
    ];
    await wgMust(this.n1, ["peer", "import", "-"], { stdin: JSON.stringify(two) });
    await wgMust(this.n2, ["peer", "import", "-"], { stdin: JSON.stringify(one) });
  }
}

/** A process that has UDP ports, as a program that was faster at boot; resolves when it has them. */
export async function holdPorts(
  node: Node,
  ports: readonly number[],
  hostname = "0.0.0.0",
): Promise<Running> {
  const bind = ports.map((port) => `await Bun.udpSocket({ hostname: "${hostname}", port: ${port} });`);
  const script = `${bind.join(" ")} console.error("bound"); await Bun.sleep(600_000);`;
  const holder = node.start([process.execPath, "-e", script]);
  await holder.saidOnStderr("bound");
  return holder;
}
