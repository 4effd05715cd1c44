// Three nodes of a cluster whose pods talk all the while, in which a fault is made on node 1. What is
// so is measured from outside: by pings between pods and by a capture between the nodes.

import type { ApiServer } from "../../cluster/support/api-server.ts";
import { allEncrypt, joinThree, type Trio } from "../../cluster/support/mesh.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Completed, Running } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary, repository } from "../../lab/paths.ts";
import type { Packet } from "../../lab/pcap.ts";
import type { Pod } from "../../lab/pod.ts";
import type { FaultTable } from "./tables.ts";

/** Packets between two pods in one burst, counted in both directions. */
export interface Truth {
  readonly sent: number;
  readonly delivered: number;
  /** Seen in plaintext between the nodes, requests and answers. */
  readonly plaintext: number;
}

const pings = 4;
/** As real traffic is: some packets a second, all the time. */
const trafficEveryS = 0.25;

export class FaultLab {
  #traffic: readonly Running[] = [];

  private constructor(
    readonly lab: Lab,
    readonly server: ApiServer,
    readonly trio: Trio,
    readonly capture: Capture,
    /** The product's executable on the nodes. */
    readonly program: string,
  ) {}

  /** Resolves when all three nodes encrypt. */
  static async create(lab: Lab, server: ApiServer, { agent, hasClock }: FaultTable): Promise<FaultLab> {
    const program = hasClock ? await buildClockedProgram(lab) : binary;
    const trio = await joinThree(lab, server, { ...agent, program });
    await allEncrypt(trio.nodes);
    return new FaultLab(lab, server, trio, await lab.capture("net 10.244.0.0/16"), program);
  }

  /** The product's command line on the node. */
  wg(args: readonly string[]): Promise<Completed> {
    return this.node.run([this.program, ...args]);
  }

  /** The pod of the node talks with those of both peers. */
  startTraffic(): void {
    const [mine, ...others] = this.trio.pods;
    const send = (other: Pod) =>
      mine.start(["ping", "-q", "-i", `${trafficEveryS}`, other.ip(4)], { timeoutMs: 0 });
    if (this.#traffic.length === 0) this.#traffic = others.map(send);
  }

  async stopTraffic(): Promise<void> {
    const stopped = this.#traffic;
    this.#traffic = [];
    await Promise.all(stopped.map((one) => one.stop("SIGINT")));
  }

  /** The node on which faults are made and whose reports are read. */
  get node(): Node {
    return this.trio.nodes[0];
  }

  /** The peer that its pod talks with. */
  get peer(): Node {
    return this.trio.nodes[1];
  }

  get agent(): Agent {
    return this.trio.agents[0];
  }

  /** What happens to packets between the pods of the node and the peer. Takes half a second, or one if all are lost. */
  async measure(): Promise<Truth> {
    const [mine, theirs] = this.trio.pods;
    const before = await this.#between(mine, theirs);
    const delivered = await Promise.all([ping(mine, theirs), ping(theirs, mine)]);
    const after = await this.#between(mine, theirs);
    return {
      sent: 2 * pings,
      delivered: delivered.reduce((sum, count) => sum + count, 0),
      plaintext: after - before,
    };
  }

  /** The same without sending anything. */
  async watch(): Promise<Truth> {
    const before = await this.plaintext();
    await Bun.sleep(300);
    return { sent: 0, delivered: 0, plaintext: (await this.plaintext()) - before };
  }

  /** All packets between the pods of the node and the peer that were seen in plaintext until now. */
  plaintext(): Promise<number> {
    const [mine, theirs] = this.trio.pods;
    return this.#between(mine, theirs);
  }

  async #between(one: Pod, other: Pod): Promise<number> {
    const ips = [one.ip(4), other.ip(4)];
    const isBetween = ({ source = "", destination = "" }: Packet) =>
      ips.includes(source) && ips.includes(destination);
    return (await this.capture.packets()).filter(isBetween).length;
  }
}

/** Compiles the program whose clock can be stepped, much as scripts/build.ts does, and returns its path. */
async function buildClockedProgram(lab: Lab): Promise<string> {
  const path = `${lab.sharedDirectory}/wg-cni`;
  await Bun.build({
    entrypoints: [`${repository}/test/reporting/support/clocked-program.ts`],
    compile: { outfile: path },
    define: { WG_CNI_VERSION: '"0.0.0-clock"', WG_CNI_BUILD: '"clock"' },
    plugins: [
      {
        name: "without undici",
        setup: ({ onResolve }) => {
          onResolve({ filter: /^undici$/ }, () => ({ path: `${repository}/scripts/no-undici.ts` }));
        },
      },
    ],
  });
  return path;
}

/** How many of the pings were answered. */
async function ping(from: Pod, to: Pod): Promise<number> {
  const { stdout } = await from.run(["ping", "-c", `${pings}`, "-i", "0.1", "-W", "1", to.ip(4)]);
  return Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
}
