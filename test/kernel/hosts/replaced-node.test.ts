// A node is replaced: the new one, under another name, has its address, and the old record is still
// in the directory, with the older claim to that address. Pods of the others reach the new node's
// host, and are reached by it, once the old claim has lapsed, without anybody deleting the record.
// While the old node answers, its address cannot be taken.
//
//   n1 ──┬── n2 192.0.2.2, with an agent
//        └── n4 192.0.2.4: the records say that "ghost" had this address and 10.66.0.0/24 first
//
// Nobody waits for three minutes here: since when the old owner has been asked for a sign of life is
// in node 1's store, and is moved there while its agent is stopped, as if it had been stopped so long.
import { beforeAll, expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import type { Agent } from "../../lab/agent.ts";
import { knowsPeers, upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, paperRecord, routeLines, stepsBesideAgent, tables } from "../support/mesh-reference.ts";

const aged = 170_000;
/** The rest of the 180 s, the 30 s in which a living owner answers this agent, and a busy machine. */
const lapseMs = 90_000;
const openMs = 60_000;

interface Refusal {
  readonly peer: string;
  readonly owner: string;
  readonly claim: string;
}

describeKernel("a node that is replaced", () => {
  const lab = withLab("replaced");
  let n1: Node;
  let n2: Node;
  let n4: Node;
  let pod: Pod;
  let agent: Agent;
  let recordsDir: string;

  const putRecord = (name: string, record: object) => {
    writeFileSync(`${recordsDir}/.${name}.tmp`, JSON.stringify({ ...record, name }));
    renameSync(`${recordsDir}/.${name}.tmp`, `${recordsDir}/${name}.json`);
  };
  const hostRoute = (ip: string) =>
    routeLines(n1, 4, tables.hosts).find((line) => line.includes(`${ip} `)) ?? "";
  /** A statement in node 1's store, run where its path is what it is to the agent. */
  const query = (sql: string, ...values: string[]): unknown[] => {
    const open = `new (require("bun:sqlite").Database)(${JSON.stringify(`${n1.stateDir}/state.db`)})`;
    const code = `console.log(JSON.stringify(${open}.query(${JSON.stringify(sql)}).all(...${JSON.stringify(values)})))`;
    return JSON.parse(n1.must([process.execPath, "-e", code]));
  };
  const paths = () => {
    const rows = query("SELECT peer, path FROM paths") as { peer: string; path: string }[];
    return new Map(rows.map(({ peer, path }) => [peer, JSON.parse(path)]));
  };
  /** As if this node had asked the owner for so much longer. */
  const age = (peer: string) => {
    const path = paths().get(peer);
    const older = { ...path, contestedSinceMs: path.contestedSinceMs - aged };
    query("UPDATE paths SET path = ? WHERE peer = ?", JSON.stringify(older), peer);
  };
  const refusals = async () =>
    (JSON.parse((await n1.wg(["status", "--json"])).stdout) as { refusedClaims: readonly Refusal[] })
      .refusedClaims;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    recordsDir = await upWithRecords(n1);
    await upWithRecords(n2);
    putRecord(
      "ghost",
      paperRecord(7, { endpoints: ["192.0.2.4"], nodeIPs: ["192.0.2.4"], podCIDRs: ["10.66.0.0/24"] }),
    );
    agent = await n1.agent();
    await n2.agent();
    await knowsPeers(n1, [n1, n2]);
    pod = n1.pod("pod");
    await n1.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
    // The newcomer comes last: on node 1, its claims are the later ones.
    await waitUntil(() => paths().has("ghost"), { what: "node 1 knows the ghost", timeoutMs: openMs });
    // It lived once: an address that no handshake ever came from keeps nothing from the newcomer.
    query("INSERT INTO node_ip_proofs VALUES ('ghost', '192.0.2.4') RETURNING ip");
    query("UPDATE meta SET generation = generation + 1 RETURNING generation");
    n4 = await addNode(lab, 4);
    await upWithRecords(n4);
    await n4.agent();
    await knowsPeers(n1, [n1, n2, n4]);
  }, 150_000);
  test("the old claim lapses, and the new node's host is reached; a living node's claim does not", async () => {
    // A claim of a file that nobody is behind: it comes from nowhere, and node 2 is not even asked.
    putRecord("thief", paperRecord(8, { nodeIPs: ["192.0.2.2"], podCIDRs: ["10.244.2.0/25"] }));
    await waitUntil(() => paths().get("ghost")?.contestedSinceMs !== undefined, {
      what: "the ghost is asked for a sign of life",
      timeoutMs: openMs,
    });
    expect(hostRoute("192.0.2.4")).not.toContain("dev wg-cni");
    // The answers come in plaintext until node 4 has heard node 1's keys, and through the tunnel from then on.
    await waitUntil(
      () => routeLines(n4, 4, tables.pods).some((line) => line.includes("10.244.1.0/24 dev wg-cni")),
      {
        what: "node 4 encrypts to node 1's pods",
        timeoutMs: openMs,
      },
    );
    expect(await ping(pod, "192.0.2.4")).toMatchObject({ received: 0 });
    // Too early for a lapse, and so it stays when the agent is started again.
    await agent.stop();
    const since = paths().get("ghost").contestedSinceMs;
    agent = await n1.agent();
    expect(paths().get("ghost").contestedSinceMs).toBe(since);
    expect((await refusals()).filter(({ peer }) => peer === "ghost")).toEqual([]);
    await agent.stop();
    age("ghost");
    agent = await n1.agent();
    const line = await agent.waitFor(({ from }) => from === "ghost", lapseMs);
    expect(line).toMatchObject({ claim: "192.0.2.4/32", from: "ghost", peer: "n4" });
    await waitUntil(() => hostRoute("192.0.2.4").includes("dev wg-cni"), { what: "the new node's route" });
    await waitUntil(async () => (await ping(pod, "192.0.2.4")).received === 3, {
      what: "the new node's host answers",
      timeoutMs: openMs,
    });
    expect(await ping(n4, pod.ip(4) as string)).toMatchObject({ received: 3 });
    // It stays so, whoever asks; and what nobody lives to claim is nobody's but the owner's.
    const claims = (await refusals()).map(({ peer, owner, claim }) => `${peer} ${claim} ${owner}`);
    expect(claims).toContain("ghost 192.0.2.4/32 n4");
    expect(claims).toContain("thief 192.0.2.2/32 n2");
    expect(claims).toContain("thief 10.244.2.0/25 n2");
    expect(paths().get("n2")?.contestedSinceMs).toBeUndefined();
    expect(await stepsBesideAgent(n1)).toEqual([]);
  }, 400_000);
});
