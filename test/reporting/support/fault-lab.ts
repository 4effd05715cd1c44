// Three nodes of a cluster whose pods talk all the while, in which a fault is made on node 1. What is
// so is measured from outside: by pings between pods and by a capture between the nodes.

import type { ApiServer } from "../../cluster/support/api-server.ts";
import { allEncrypt, joinThree, type Trio } from "../../cluster/support/mesh.ts";
import type { Agent, AgentOptions } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import type { Packet } from "../../lab/pcap.ts";
import type { Pod } from "../../lab/pod.ts";

/** Packets between two pods in one burst, counted in both directions. */
export interface Truth {
  readonly sent: number;
  readonly delivered: number;
  /** Seen in plaintext between the nodes, requests and answers. */
  readonly plaintext: number;
}

const pings = 4;

export class FaultLab {
  private constructor(
    readonly lab: Lab,
    readonly server: ApiServer,
    readonly trio: Trio,
    readonly capture: Capture,
  ) {}

  /** Resolves when all three nodes encrypt. */
  static async create(lab: Lab, server: ApiServer, options: AgentOptions = {}): Promise<FaultLab> {
    const trio = await joinThree(lab, server, options);
    await allEncrypt(trio.nodes);
    return new FaultLab(lab, server, trio, await lab.capture("net 10.244.0.0/16"));
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

/** How many of the pings were answered. */
async function ping(from: Pod, to: Pod): Promise<number> {
  const { stdout } = await from.run(["ping", "-c", `${pings}`, "-i", "0.1", "-W", "1", to.ip(4)]);
  return Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
}
