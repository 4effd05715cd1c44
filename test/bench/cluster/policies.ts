// What the admission policies cost the API server. They are evaluated with every Node and every record in turn, so a
// write costs more the more nodes there are.
import { applyManifests, pathOf, policiesObeyed, readManifest } from "../../cluster/support/manifests.ts";
import { agentOf, recordPath } from "../../cluster/support/nodes.ts";
import { keyOf, paperRecord } from "../../kernel/support/mesh-reference.ts";
import type { Cluster } from "../scale/cluster.ts";
import { cpuMsOf } from "../scale/process.ts";
import type { PolicyCost } from "./figures.ts";

const writes = 10;
/** A server takes a second or two until it no longer evaluates policies that were removed. */
const forgottenMs = 5000;
/** No node on paper has a key of such a number. */
const newKeys = 1_000_000;

/** Agents write a new key into their records, one after the other. The server only tries it. */
export async function measurePolicies({ server }: Cluster): Promise<PolicyCost> {
  await policiesObeyed(server);
  const cost = { answeredMs: [] as number[], cpuMs: 0 };
  for (let i = 1; i <= writes; i++) {
    const { name, slots } = paperRecord(i);
    const agent = await agentOf(server, name);
    const [first, second] = slots;
    const change = { spec: { slots: [{ ...first, publicKey: keyOf(newKeys + i) }, second] } };
    const [startMs, startCpuMs] = [performance.now(), cpuMsOf(server.server.pid)];
    await agent.patch(recordPath(name), change, { dryRun: true });
    cost.answeredMs.push(performance.now() - startMs);
    cost.cpuMs += (cpuMsOf(server.server.pid) - startCpuMs) / writes;
  }
  return cost;
}

/** Runs `deed` while the server evaluates no policy. */
export async function withoutPolicies<T>({ server }: Cluster, deed: () => Promise<T>): Promise<T> {
  const bindings = readManifest("policy").filter(({ kind }) => kind === "ValidatingAdmissionPolicyBinding");
  for (const binding of bindings) await server.admin.remove(pathOf(binding));
  await Bun.sleep(forgottenMs);
  try {
    return await deed();
  } finally {
    await applyManifests(server.admin, ["policy"]);
  }
}
