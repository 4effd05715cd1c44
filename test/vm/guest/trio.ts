// Three nodes with agents and pods on the kernel's WireGuard, for the tests of a mesh in a virtual machine.
//
//   n1 p1 ──┐
//   n2 p2 ──┼── br0: the wire, where a capture sees what is in plaintext
//   n3 p3 ──┘
import { writeFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import { addNode, routeLines, tables, wgJson } from "../../kernel/support/mesh-reference.ts";
import type { Agent } from "../../lab/agent.ts";
import { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { waitUntil } from "../../lab/wait.ts";

export const families = [4, 6] as const;
export const phaseMs = 3000;
export const openMs = 120_000;
/** Packets a second of a flow: the machine is emulated, and all that is sent must be carried. */
export const rate = 20;

export class Trio implements Disposable {
  readonly #agents = new Map<Node, Agent>();

  private constructor(
    readonly lab: Lab,
    readonly nodes: readonly [Node, Node, Node],
  ) {}

  static async create(): Promise<Trio> {
    // Two emulated processors fall behind for a moment now and then.
    writeFileSync("/proc/sys/net/core/netdev_max_backlog", "100000");
    const lab = await Lab.create("agent");
    const nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)] as const;
    for (const node of nodes) node.strictReversePath();
    return new Trio(lab, nodes);
  }

  [Symbol.dispose](): void {
    this.lab[Symbol.dispose]();
  }

  agentOf(node: Node): Agent {
    return this.#agents.get(node) as Agent;
  }

  async startAgent(node: Node): Promise<void> {
    this.#agents.set(node, await node.agent());
  }

  async addPod(node: Node, conf: string): Promise<Pod> {
    const pod = node.pod(`p${node.name}`);
    await node.runtime.add(readConfList(`${repository}/conf/${conf}`), pod);
    return pod;
  }

  /** Resolves once each node routes the pods of each other one into the tunnel. */
  async openAll(): Promise<void> {
    for (const node of this.nodes)
      for (const other of this.nodes) if (node !== other) await opens(node, other);
  }

  /** How many packets between nodes were outside the tunnel meanwhile, with a pod's address and without. */
  async inPlaintext(act: () => Promise<unknown>): Promise<{ pods: number; hosts: number }> {
    const capture = await this.lab.capture("not udp portrange 51820-51821");
    await act();
    const { plaintext, host } = (await capture.tally()).packets;
    await capture.stop();
    return { pods: plaintext, hosts: host };
  }
}

/** The route of a node's own processes and pods to a peer's pods. */
export const podRoute = (node: Node, to: Node) =>
  node.must(["ip", "route", "show", "table", "18099", "exact", to.podCidrs[0] as string]).trim();

export const isOpen = (node: Node, to: Node) => podRoute(node, to).includes("dev wg-cni-");

export const opens = (node: Node, to: Node) =>
  waitUntil(() => isOpen(node, to), {
    what: `${node.name} routes ${to.name}'s pods into the tunnel`,
    timeoutMs: openMs,
  });

/** Resolves once a node routes its pods' packets to all node IPs of another one into the tunnel: handshakes have proven them. */
export const provesHosts = (node: Node, to: Node) =>
  waitUntil(
    () =>
      families.every((family) =>
        routeLines(node, family, tables.hosts).some((line) => leadsTo(line, to.ip(family))),
      ),
    { what: `${node.name} routes pods' packets to ${to.name} into the tunnel`, timeoutMs: openMs },
  );

const leadsTo = (line: string, ip: string | undefined) =>
  line.includes(`${ip} `) && line.includes("dev wg-cni-") && !line.startsWith("throw");

export const record = (node: Node) => wgJson<NodeRecord>(node, ["node", "show"]);
