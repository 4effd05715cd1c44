// A node with root writes whatever it likes into its own record: addresses of resolvers, of the API server,
// of the gateway, of hosts on the Internet, of a node that has not joined yet. The packets of pods and
// nodes to these addresses take the same way as before, and the claimant receives none of them.
//
//   n1 ── tunnel ── n2, hostile: its agent is stopped, its record is written by hand
//    │
//    └── eth0 ── gateway ──┬── 203.0.113.53, n1's resolver
//                          ├── 203.0.113.6, the API server
//                          ├── 8.8.8.8, on the Internet
//                          └── n3 192.0.2.3, which joins after it was claimed
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import { gateways } from "../../lab/lab.ts";
import { joinByRecords, knowsPeers, upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import {
  addNode,
  importPeers,
  routeLines,
  stepsBesideAgent,
  tables,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

const resolver = "203.0.113.53";
const apiServer = "203.0.113.6";
const world = "8.8.8.8";
const worlds = [resolver, apiServer, world];
/** A handshake takes milliseconds, its reading a second; two cores run all of it. */
const soonMs = 30_000;

interface Refusal {
  readonly peer: string;
  readonly claim: string;
}

describeKernel("a record that claims what another node has", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("drawn");
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;
  let agent: Agent;
  let recordsDir: string;
  let honest: NodeRecord;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    lab.wire.must(["ip", "route", "add", "10.244.1.0/24", "via", "192.0.2.1"]);
    for (const ip of worlds) lab.wire.must(["ip", "address", "add", `${ip}/32`, "dev", "lo"]);
    n1.script([`echo nameserver ${resolver} >/etc/resolv.conf`]);
    const upOptions = ["--control-plane", `${apiServer}:6443`];
    const joined = await joinByRecords([n1, n2], { upOptions });
    recordsDir = joined.recordsDir;
    [p1, p2] = (await addPods([n1, n2])) as [Pod, Pod];
    await awaitTunnels([n1, n2]);
    agent = joined.agents[0] as Agent;
    honest = await wgJson<NodeRecord>(n2, ["node", "show"]);
    await joined.agents[1]?.stop();
  });
  const claim = (change: Partial<NodeRecord>) => {
    writeFileSync(`${recordsDir}/.n2.tmp`, JSON.stringify({ ...honest, ...change }));
    renameSync(`${recordsDir}/.n2.tmp`, `${recordsDir}/n2.json`);
  };
  const refused = async () => {
    const { stdout } = await n1.wg(["status", "--json"]);
    const { refusedClaims } = JSON.parse(stdout) as { refusedClaims: readonly Refusal[] };
    return [...new Set(refusedClaims.flatMap(({ peer, claim }) => (peer === "n2" ? [claim] : [])))].sort();
  };
  const isRefused = (claims: readonly string[]) => {
    const wanted = [...new Set(claims)].sort().join();
    let seen = "";
    const look = async () => {
      seen = (await refused()).join();
      return seen === wanted;
    };
    return waitUntil(look, { what: () => `refused is ${wanted}, and not ${seen}`, timeoutMs: soonMs });
  };
  /** Returns the routes of node 1 into the tunnel and the refusing ones, without "throw". */
  const led = () =>
    [tables.hosts, tables.pods]
      .flatMap((table) => routeLines(n1, 4, table))
      .filter((line) => !line.startsWith("throw"))
      .join("\n");
  const expectAllWorks = async () => {
    const ways = [...worlds, gateways[4]].flatMap(
      (ip) =>
        [
          [p1, ip],
          [n1, ip],
        ] as const,
    );
    for (const [from, ip] of [...ways, [p1, p2.ip(4) as string] as const, [p1, "192.0.2.2"] as const])
      expect([from.label, ip, (await ping(from, ip)).received]).toEqual([from.label, ip, 3]);
  };

  test.each(["permissive", "strict"])("%s: draws nothing, and keeps what is its own", async (mode) => {
    await wgMust(n1, ["up", "--mode", mode]);
    const podCIDRs = ["8.0.0.0/8", "203.0.113.53/32", "203.0.113.4/30", "192.0.2.254/32", "168.63.129.16/32"];
    const nodeIPs = [world, resolver, apiServer, gateways[4]];
    claim({
      podCIDRs: [...honest.podCIDRs, ...podCIDRs],
      nodeIPs: [...honest.nodeIPs, ...nodeIPs],
      endpoints: [...honest.endpoints, ...nodeIPs],
    });
    await isRefused([...podCIDRs, ...nodeIPs.map((ip) => `${ip}/32`)]);
    const lines = led();
    for (const ip of [...nodeIPs, "8.0.0.0", "203.0.113.4", "168.63"]) expect(lines).not.toContain(ip);
    await expectAllWorks();
    expect(await stepsBesideAgent(n1)).toEqual([]);
    claim({});
    await isRefused([]);
  });

  test("a claim to an address that a host comes to have draws nothing from then on", async () => {
    claim({ podCIDRs: [...honest.podCIDRs, "198.18.7.0/24"] });
    await waitUntil(() => led().includes("198.18.7.0/24"), { what: "the claim counts", timeoutMs: soonMs });
    n1.script(["ip address add 198.18.7.1/24 dev eth0"]);
    await isRefused(["198.18.7.0/24"]);
    await waitUntil(() => !led().includes("198.18.7.0/24"), {
      what: "no route of the claim",
      timeoutMs: soonMs,
    });
    n1.script(["ip address delete 198.18.7.1/24 dev eth0"]);
    claim({});
    await isRefused([]);
  });

  test("a node that joins later has its address, which another one has claimed as node IP and for pods", async () => {
    claim({
      podCIDRs: [...honest.podCIDRs, "192.0.2.3/32"],
      nodeIPs: [...honest.nodeIPs, "192.0.2.3"],
    });
    await waitUntil(() => led().includes("192.0.2.3"), { what: "the squatter's claim", timeoutMs: soonMs });
    const n3 = await addNode(lab, 3);
    await upWithRecords(n3);
    await n3.agent();
    await knowsPeers(n1, [n1, n2, n3]);
    await waitUntil(async () => (await refused()).includes("192.0.2.3/32"), {
      what: "the squatter's claim is refused",
      timeoutMs: soonMs,
    });
    const isTunneled = () =>
      routeLines(n1, 4, tables.hosts).some((line) => line.includes("192.0.2.3 dev wg-cni"));
    await waitUntil(isTunneled, { what: "the way to node 3 is the tunnel", timeoutMs: soonMs });
    await waitUntil(async () => (await ping(p1, "192.0.2.3")).received === 3, {
      what: "node 3 is reached",
      timeoutMs: soonMs,
    });
    expect(await ping(n3, p1.ip(4) as string)).toMatchObject({ received: 3 });
    claim({});
    await isRefused([]);
  });

  test("control: as the operator's word it is obeyed, and what is sent there is lost", async () => {
    await agent.stop();
    await wgMust(n1, ["up", "--records-dir", "default"]);
    const greedy = { ...honest, nodeIPs: [...honest.nodeIPs, world] };
    await importPeers(n1, [greedy]);
    expect(led()).toContain(world);
    expect((await ping(p1, world)).received).toBe(0);
  });
});
