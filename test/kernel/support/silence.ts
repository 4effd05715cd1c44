// A mesh whose node 1 has an agent and sends to a pod address of nodes 2 and 3,
// for the tests of what the agent does if a peer is silent.
import type { Agent, LogLine } from "../../lab/agent.ts";
import type { Lab } from "../../lab/lab.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { addNode } from "./mesh-reference.ts";

/** 30 s of silence, or 60 s without a sign of life and 20 s to answer; 15 s for each recovery step; a loaded machine. */
export const mendMs = 150_000;

interface PeerShown {
  readonly name: string;
  readonly state: string;
  readonly slot?: string;
}

export class SilenceContext {
  private constructor(
    readonly lab: Lab,
    readonly n1: Node,
    readonly n2: Node,
    readonly n3: Node,
    readonly agent: Agent,
  ) {}

  static async create(lab: Lab): Promise<SilenceContext> {
    const [n1, n2, n3] = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)];
    for (const node of [n2, n3])
      node.script([
        "ip link add pod0 type bridge",
        `ip address add ${podOf(node)}/32 dev pod0`,
        "ip link set pod0 up",
      ]);
    await joinMesh([n1, n2, n3]);
    return new SilenceContext(lab, n1, n2, n3, await n1.agent());
  }

  /** Sends to a node's pod until the lab ends. */
  ping(node: Node): void {
    this.n1.start(["ping", "-q", "-i", "0.2", podOf(node)], { timeoutMs: 0 });
  }

  answers(node: Node): boolean {
    return this.n1.exec(["ping", "-q", "-c", "1", "-W", "1", podOf(node)]).exitCode === 0;
  }

  /** As status shows it, whatever its exit code: during the recovery steps, changes are pending. */
  async peer({ name }: Node): Promise<PeerShown | undefined> {
    const { stdout } = await this.n1.wg(["status", "--json"]);
    const { peers } = JSON.parse(stdout) as { peers: readonly PeerShown[] };
    return peers.find((peer) => peer.name === name);
  }

  /** The agent's lines about recovery steps for a node. */
  silences({ name }: Node): LogLine[] {
    return this.agent.lines().filter((line) => line.peer === name && isSilence(line));
  }

  /** Waits for such a line, or for the one that the peer answers again; `from` as Agent.waitFor has it. */
  async says({ name }: Node, what: "silent" | "answers", from = 0): Promise<void> {
    const matches = (line: LogLine) =>
      line.peer === name && (what === "silent" ? isSilence(line) : line.message.includes("answers again"));
    await this.agent.waitFor(matches, mendMs, from);
  }
}

function isSilence({ step }: LogLine): boolean {
  return step !== undefined;
}

/** An address of the node's pod CIDR that it has itself. */
function podOf(node: Node): string {
  return `10.244.${node.name.slice(1)}.9`;
}
