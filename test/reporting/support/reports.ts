// Everything that a person or a controller can read about a node: status, doctor, the agent's log, its
// metrics and readiness, and the conditions of its record.
import { recordPath } from "../../cluster/support/nodes.ts";
import type { Agent, LogLine } from "../../lab/agent.ts";
import type { Completed } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { FaultLab } from "./fault-lab.ts";

export interface PeerReport {
  readonly name: string;
  readonly state: string;
  readonly reach: string;
  /** Unix milliseconds; 0 is never. */
  readonly lastHandshakeMs: number;
  readonly plaintext?: { readonly inPackets: number; readonly outPackets: number };
}

export interface FindingReport {
  readonly check: string;
  readonly level: "ok" | "warn" | "fail";
  readonly summary: string;
  readonly remedy?: string;
}

export interface Reports {
  /** Unix milliseconds of the machine's clock. */
  readonly readAtMs: number;
  readonly status: {
    readonly exitCode: number;
    readonly isUp: boolean;
    /** Of the peer that pods talk with; absent if it is not shown. */
    readonly peer?: PeerReport;
    readonly pending: readonly string[];
    /** What else its exit code may be about: the agent's state, and the other peers' names and states. */
    readonly others: readonly string[];
    /** Unix milliseconds since which plaintext was counted; absent if it is not. */
    readonly countedSinceMs?: number;
  };
  readonly doctor: { readonly exitCode: number; readonly findings: readonly FindingReport[] };
  /** Lines of at least `warn` since the fault. */
  readonly warnings: readonly LogLine[];
  /** The peer, as `status` shows it after everything else was read; absent if it is not shown. */
  readonly peerAfter?: PeerReport;
  /** "ok", or what is wrong; undefined if nobody answers. */
  readonly ready?: string;
  /** wg_cni_peer_state of the peer: "state reach"; undefined without metrics. */
  readonly metric?: string;
  /** wg_cni_plaintext_packets_total of the peer, both directions. */
  readonly plaintextMetric?: number;
  /** Type -> "status reason". */
  readonly conditions: Readonly<Record<string, string>>;
}

/** `from`: the number of log lines before the fault. */
export async function readReports(faults: FaultLab, from: number): Promise<Reports> {
  const { node, peer, trio } = faults;
  const [agent] = trio.agents;
  const status = await faults.wg(["status", "--json"]);
  const [doctor, ready, metrics, conditions] = await Promise.all([
    faults.wg(["doctor", "--json"]),
    get(node, "/readyz"),
    get(node, "/metrics"),
    readConditions(faults),
  ]);
  const peerAfter = findPeer(await faults.wg(["status", "--json"]), peer);
  const shown = parse(status.stdout) as {
    readonly up?: boolean;
    readonly pending?: readonly string[];
    readonly plaintextCountedSinceMs?: number;
    readonly agent?: { readonly state: string };
    readonly peers?: readonly PeerReport[];
  };
  const mine = findPeer(status, peer);
  const findings = (parse(doctor.stdout) as { findings?: readonly FindingReport[] }).findings ?? [];
  return {
    readAtMs: Date.now(),
    status: {
      exitCode: status.exitCode,
      isUp: shown.up === true,
      pending: shown.pending ?? [],
      others: [
        `agent ${shown.agent?.state}`,
        ...(shown.peers ?? [])
          .filter(({ name }) => name !== peer.name)
          .map(({ name, state }) => `${name} ${state}`),
      ],
      ...(shown.plaintextCountedSinceMs === undefined
        ? {}
        : { countedSinceMs: shown.plaintextCountedSinceMs }),
      ...(mine === undefined ? {} : { peer: mine }),
    },
    doctor: { exitCode: doctor.exitCode, findings: findings.filter(({ level }) => level !== "ok") },
    warnings: warningsOf(agent, from),
    ...(peerAfter === undefined ? {} : { peerAfter }),
    ...(ready === undefined ? {} : { ready: ready.trim() }),
    ...readMetrics(metrics ?? "", peer.name),
    conditions,
  };
}

/** Lines of at least `warn` since the line of the number. */
export function warningsOf(agent: Agent, from: number): LogLine[] {
  return agent
    .lines()
    .slice(from)
    .filter(({ level }) => level === "warn" || level === "error");
}

function findPeer({ stdout }: Completed, { name }: Node): PeerReport | undefined {
  const { peers = [] } = parse(stdout) as { readonly peers?: readonly PeerReport[] };
  return peers.find((peer) => peer.name === name);
}

function readMetrics(text: string, peer: string): Pick<Reports, "metric" | "plaintextMetric"> {
  const label = `peer="${peer}"`;
  const lines = text.split("\n").filter((line) => line.includes(label));
  const state = lines.find((line) => line.startsWith("wg_cni_peer_state{"));
  const counters = lines.filter((line) => line.startsWith("wg_cni_plaintext_packets_total{"));
  return {
    ...(state === undefined
      ? {}
      : { metric: ["state", "reach"].map((name) => labelOf(state, name)).join(" ") }),
    ...(counters.length === 0
      ? {}
      : { plaintextMetric: counters.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0) }),
  };
}

function labelOf(line: string, name: string): string {
  return new RegExp(`[{,]${name}="([^"]*)"`).exec(line)?.[1] ?? "";
}

async function readConditions({ server, node }: FaultLab): Promise<Record<string, string>> {
  const record = await server.admin.find(recordPath(node.name)).catch(() => undefined);
  const conditions = (record?.["status"]?.conditions ?? []) as {
    type: string;
    status: string;
    reason: string;
  }[];
  return Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));
}

/** The body of an answer, from within the node; undefined if nobody answers. */
async function get(node: Node, path: string): Promise<string | undefined> {
  const request = `exec 3<>/dev/tcp/127.0.0.1/9586 && printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
  const { exitCode, stdout } = await node.run(["timeout", "2", "bash", "-c", request]);
  if (exitCode !== 0) return undefined;
  return stdout.slice(stdout.indexOf("\r\n\r\n") + 4);
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}
