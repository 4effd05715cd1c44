// The mesh's nftables table on two lab nodes: what goes in plaintext is counted by
// peer, strict mode drops it, and the table comes and goes with the mesh.
// Witnesses are nft and ping; a raw route past our tables makes the plaintext.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { addNode, importPeers, missing, wgJson, wgMust } from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

interface PeerStatus {
  readonly plaintext?: { readonly inPackets: number; readonly outPackets: number };
}

describe.skipIf(missing !== undefined)("the mesh's nftables table", () => {
  const lab = withLab("meshfw");
  let n1: Node;
  let n2: Node;

  const plaintext = async (node: Node) => {
    const { stdout } = await node.wg(["status", "--json"]);
    return (JSON.parse(stdout) as { peers: PeerStatus[] }).peers[0]?.plaintext;
  };
  const tables = (node: Node) => node.must(["nft", "list", "tables"]);
  /** Sends past our tables, as a faulty rule would: one packet in plaintext from a pod address to a pod address. */
  const sendInClear = async (from: Node, source: string, target: string) => {
    from.script([`ip rule add priority 10 to ${target} lookup main`]);
    try {
      await from.run(["ping", "-c", "1", "-W", "1", "-I", source, target]);
    } finally {
      from.script([`ip rule delete priority 10 to ${target} lookup main`]);
    }
  };

  /** From pod address to pod address: both ways take the tunnel. */
  const expectEncrypted = async () => {
    expect(await ping(n1, "10.244.2.9", { source: "10.244.1.9" })).toMatchObject({ received: 3 });
  };

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    const records: NodeRecord[] = [];
    for (const node of [n1, n2]) {
      await wgMust(node, ["up", ...node.upArguments]);
      records.push(await wgJson<NodeRecord>(node, ["node", "show"]));
    }
    for (const node of [n1, n2]) await importPeers(node, records);
    for (const [i, node] of [n1, n2].entries())
      node.script([
        "ip link add pod0 type bridge",
        `ip address add 10.244.${i + 1}.9/32 dev pod0`,
        "ip link set pod0 up",
      ]);
  });
  test("encrypted traffic counts as none", async () => {
    await expectEncrypted();
    expect(await plaintext(n1)).toMatchObject({ inPackets: 0, outPackets: 0 });
    expect(await plaintext(n2)).toMatchObject({ inPackets: 0, outPackets: 0 });
  });

  test("one packet in plaintext is counted once where it leaves and once where it arrives, and shown", async () => {
    await sendInClear(n1, "10.244.1.9", "10.244.2.9");
    expect(await plaintext(n1)).toMatchObject({ inPackets: 0, outPackets: 1 });
    expect(await plaintext(n2)).toMatchObject({ inPackets: 1, outPackets: 0 });
    const { stdout } = await n2.wg(["status"]);
    expect(stdout).toContain("1 in, 0 out");
  });

  test("strict mode keeps the packet from leaving, and drops what arrives", async () => {
    await wgMust(n1, ["up", "--mode", "strict"]);
    const before = await plaintext(n2);
    await sendInClear(n1, "10.244.1.9", "10.244.2.9");
    expect(await plaintext(n1)).toMatchObject({ inPackets: 0, outPackets: 2 });
    expect(await plaintext(n2)).toEqual(before);
    await expectEncrypted();
    expect(await plaintext(n1)).toMatchObject({ inPackets: 0, outPackets: 2 });
    await wgMust(n1, ["up", "--mode", "permissive"]);
  });

  test("a table that was deleted or changed by hand is put right; sync then writes nothing", async () => {
    // Chains are listed in the order in which they were made, and the modes before have made some of them later.
    n1.must(["nft", "delete table inet wg-cni"]);
    await wgMust(n1, ["sync"]);
    const wanted = n1.must(["nft", "-s", "list", "table", "inet", "wg-cni"]);
    for (const damage of [
      "delete table inet wg-cni",
      "flush chain inet wg-cni postrouting",
      "add chain inet wg-cni x",
    ]) {
      n1.must(["nft", damage]);
      expect((await n1.wg(["status"])).exitCode).toBe(3);
      await wgMust(n1, ["sync"]);
      expect(n1.must(["nft", "-s", "list", "table", "inet", "wg-cni"])).toBe(wanted);
      expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 0, steps: [] });
    }
  });

  test("down takes our table away and leaves other tables", async () => {
    n1.must(["nft", "add table inet foreign"]);
    await wgMust(n1, ["down"]);
    expect(tables(n1)).toBe("table inet foreign\n");
  });
});
