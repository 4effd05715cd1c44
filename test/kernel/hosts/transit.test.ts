// What a node leads on for another one outside the tunnel, to an address that a rule of the host translates:
// permissive mode counts it for the peer, and strict mode drops it. A node port is an address of the node
// itself, so it is neither counted so nor dropped.
//
//   n1 ── 198.51.100.9:8080, by a route ──► n2: dnat to itself
//   n1 ── 192.0.2.2:30090, a node port ───► n2: dnat to itself
import { beforeAll, expect, test } from "bun:test";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { http, serveHttp } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { awaitTunnels } from "../support/hosts.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";

const service = "198.51.100.9";
const [backendPort, nodePort] = [8080, 30090];
const timeoutS = 2;

describeKernel("packets that a node leads on for another", () => {
  const lab = withLab("transit");
  let n1: Node;
  let n2: Node;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    await joinByRecords([n1, n2]);
    await serveHttp(n2, "answer", [backendPort]);
    n1.script([`ip route add ${service} via 192.0.2.2`]);
    n2.script([
      `ip route add ${service} via 192.0.2.254`,
      "nft add table ip proxy",
      "nft 'add chain ip proxy pre { type nat hook prerouting priority dstnat; }'",
      `nft add rule ip proxy pre ip daddr ${service} tcp dport ${backendPort} dnat to 192.0.2.2:${backendPort}`,
      `nft add rule ip proxy pre ip daddr 192.0.2.2 tcp dport ${nodePort} dnat to 192.0.2.2:${backendPort}`,
    ]);
    await awaitTunnels([n1, n2]);
  }, 90_000);

  const answers = async (ip: string, port: number) => (await http(n1, ip, timeoutS, port, "/")).ok;
  const counted = () =>
    Number(
      /192\.0\.2\.1 counter packets (\d+)/.exec(
        n2.must(["nft", "list", "set", "inet", "wg-cni", "transit4"]),
      )?.[1],
    );

  test("permissive mode counts what strict mode will drop, and no node port", async () => {
    expect([await answers("192.0.2.2", nodePort), counted()]).toEqual([true, 0]);
    expect(await answers(service, backendPort)).toBe(true);
    expect(counted()).toBeGreaterThan(0);
    await wgMust(n2, ["up", ...n2.upArguments, "--mode", "strict"]);
    await waitUntil(() => n2.must(["nft", "list", "table", "inet", "wg-cni"]).includes("chain tunneled"), {
      what: "node 2 is strict",
    });
    expect([await answers("192.0.2.2", nodePort), await answers(service, backendPort)]).toEqual([
      true,
      false,
    ]);
  }, 60_000);
});
