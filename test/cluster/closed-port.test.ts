// A rollout to strict mode is refused while a UDP port between two nodes is closed, and the refusal names peer,
// port and direction. The other port is open, so all pairs encrypt and nothing else tells of it.
import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { describePortGap, type PortGap } from "../../src/plan/report/port-evidence.ts";
import { addNode } from "../kernel/support/mesh-reference.ts";
import type { Node } from "../lab/node.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { joinByApi } from "./support/join.ts";
import { adminKubeconfig } from "./support/kubeconfig.ts";
import { allEncrypt } from "./support/mesh.ts";
import { startTimeoutMs, withApiServer } from "./support/with-api-server.ts";

/** An agent reports a change within seconds; the rest is for a slow machine. */
const reportMs = 120_000;
const port = 51821;
const input = (rule: string) => [
  "nft add table inet block",
  "nft 'add chain inet block input { type filter hook input priority 0; }'",
  `nft 'add rule inet block input udp dport ${port} ${rule}'`,
];

interface Shown {
  readonly mode?: string;
  readonly inMode: number;
  readonly missing: readonly { readonly node: string; readonly reason: string }[];
}

describeKube("a closed port", () => {
  const lab = withLab("closed-port");
  const server = withApiServer(lab, ["crd", "rbac", "policy", "mesh"]);
  let config: string;
  let nodes: Node[];

  beforeAll(async () => {
    config = `${lab.sharedDirectory}/admin.json`;
    writeFileSync(config, adminKubeconfig(server, server.nodeUrl));
    nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)];
    const [n1, n2, n3] = nodes as [Node, Node, Node];
    n2.script(input("ct state new drop"));
    n3.script(input("drop"));
    expect(await n1.wg(["rollout", "permissive", "--kubeconfig", config])).toMatchObject({ exitCode: 0 });
    await joinByApi(server, nodes, { args: ["--plaintext-window", "5s"] });
  }, startTimeoutMs);

  const rollout = (...words: string[]) =>
    (nodes[0] as Node).wg(["rollout", "--json", "--kubeconfig", config, ...words]);
  const sentence = (gap: Omit<PortGap, "isLasting">) => describePortGap({ ...gap, isLasting: false });
  /** The gaps of each node, without the advice that follows them. */
  const gapsOf = ({ missing }: Shown) =>
    missing.map(({ node, reason }) => ({ node, reason: reason.split(";")[0] }));
  const noHandshake = (peer: string) => sentence({ peer, port, direction: "both" });

  test("keeps from strict mode, by peer, port and direction", async () => {
    const expected = [
      { node: "n1", reason: noHandshake("n3") },
      // Its firewall remembers its own handshake with n1, and lets no other packet of n1 in.
      { node: "n2", reason: `${sentence({ peer: "n1", port, direction: "in" })}, ${noHandshake("n3")}` },
      { node: "n3", reason: `${noHandshake("n1")}, ${noHandshake("n2")}` },
    ];
    let shown: Shown | undefined;
    const names = async () => {
      shown = JSON.parse((await rollout()).stdout) as Shown;
      return Bun.deepEquals(gapsOf(shown), expected);
    };
    await waitUntil(names, { what: () => `these gaps: ${JSON.stringify(shown)}`, timeoutMs: reportMs });
    expect(shown).toMatchObject({ mode: "permissive", inMode: nodes.length });
    await allEncrypt(nodes);
    const { exitCode, stdout } = await rollout("strict");
    const refusal = JSON.parse(stdout) as Shown;
    expect({ exitCode, mode: refusal.mode, gaps: gapsOf(refusal) }).toEqual({
      ...{ exitCode: 3, mode: "permissive", gaps: expected },
    });
  }, 150_000);
});
