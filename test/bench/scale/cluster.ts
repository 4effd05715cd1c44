// An API server with the records of thousands of nodes, and what it says of the
// agents: its audit log has every request of theirs, and counters of the kernel
// have every byte that leaves for a node.

import { readFileSync, writeFileSync } from "node:fs";
import { ApiServer } from "../../cluster/support/api-server.ts";
import { applyManifests } from "../../cluster/support/manifests.ts";
import { serviceAccount } from "../../cluster/support/nodes.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Requests } from "./figures.ts";

const populateTimeoutMs = 900_000;

export class Cluster {
  private constructor(
    readonly lab: Lab,
    readonly server: ApiServer,
    readonly auditLog: string,
  ) {}

  static async start(lab: Lab, peers: number): Promise<Cluster> {
    const [policy, auditLog] = ["audit-policy.json", "audit.log"].map(
      (name) => `${lab.sharedDirectory}/${name}`,
    );
    writeFileSync(policy as string, JSON.stringify(auditPolicy));
    const flags = [`--audit-policy-file=${policy}`, `--audit-log-path=${auditLog}`];
    const server = await ApiServer.create(lab, flags);
    await applyManifests(server.admin, ["crd", "rbac", "mesh"]);
    const script = `${import.meta.dir}/populate.ts`;
    const command = [process.execPath, script, server.nodeUrl, `${lab.sharedDirectory}/kube`, `${peers}`];
    const { exitCode, stderr } = await lab.wire.run(command, { timeoutMs: populateTimeoutMs });
    if (exitCode !== 0) throw new Error(`The API server takes no ${peers} nodes: ${stderr.trim()}`);
    // Not before: it reads every Node for each of these writes.
    await applyManifests(server.admin, ["policy"]);
    lab.wire.script(counting.map((line) => `nft ${line}`));
    return new Cluster(lab, server, auditLog as string);
  }

  /** How many requests of agents there were: for `requests`. */
  get asked(): number {
    return this.#lines().length;
  }

  /** Those that came after `asked` was `from`. */
  requests(from: number): Requests {
    const counts: Record<string, number> = {};
    for (const line of this.#lines().slice(from)) {
      const { verb, objectRef } = JSON.parse(line) as AuditEvent;
      const part = objectRef.subresource === undefined ? "" : `/${objectRef.subresource}`;
      const key = `${verb} ${objectRef.resource}${part}`;
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return counts;
  }

  /** Unix milliseconds of the first list of records after `asked` was `from`. */
  listedAt(from: number): number {
    const events = this.#lines()
      .slice(from)
      .map((line) => JSON.parse(line) as AuditEvent);
    const first = events.find(
      ({ verb, objectRef }) => verb === "list" && objectRef.resource === "wireguardnodes",
    );
    if (first === undefined) throw new Error("no agent has listed the records");
    return Date.parse(first.requestReceivedTimestamp);
  }

  /** Bytes that left the API server for nodes so far, with the network's headers. */
  get bytes(): number {
    const text = this.lab.wire.must(["nft", "list", "counter", "inet", "bench", "to_nodes"]);
    return Number(/bytes (\d+)/.exec(text)?.[1]);
  }

  #lines(): string[] {
    return readFileSync(this.auditLog, "utf8").split("\n").filter(Boolean);
  }
}

interface AuditEvent {
  readonly verb: string;
  readonly requestReceivedTimestamp: string;
  readonly objectRef: { readonly resource: string; readonly subresource?: string };
}

/** A line for each request of an agent, when it comes: a watch ends only later. */
const auditPolicy = {
  ...{ apiVersion: "audit.k8s.io/v1", kind: "Policy" },
  omitStages: ["ResponseStarted", "ResponseComplete", "Panic"],
  rules: [
    { level: "Metadata", users: [`system:serviceaccount:kube-system:${serviceAccount}`] },
    { level: "None" },
  ],
};

const counting = [
  "add table inet bench",
  "add counter inet bench to_nodes",
  "add chain inet bench output '{ type filter hook output priority 0; }'",
  "add rule inet bench output oifname br0 tcp sport 6443 counter name to_nodes",
];
