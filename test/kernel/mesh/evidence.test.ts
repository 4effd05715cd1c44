// One packet in plaintext stays known although its peer is removed before any process has read the counters,
// and although the table and the node go down and come up again.
import { beforeAll, expect, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, importPeers, wgJson, wgMust } from "../support/mesh-reference.ts";

interface Status {
  readonly peers: readonly { readonly name: string; readonly plaintext?: { readonly outPackets: number } }[];
}

describeKernel("evidence of one packet in plaintext", () => {
  const lab = withLab("evidence");
  let n1: Node;
  let record: NodeRecord;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    const n2 = await addNode(lab, 2);
    await joinMesh([n1, n2]);
    record = await wgJson<NodeRecord>(n2, ["node", "show"]);
  }, 60_000);
  const known = async () => {
    const { peers } = await wgJson<Status>(n1, ["status"]);
    return peers.map(({ name, plaintext }) => [name, plaintext?.outPackets]);
  };
  const leak = async (packets: number) => {
    const lookup = ["priority", "98", "lookup", "18099", "protocol", "118"];
    n1.must(["ip", "rule", "delete", ...lookup]);
    // Without an answer, the ping fails.
    await n1.run(["ping", "-c", `${packets}`, "-i", "0.2", "-W", "1", "10.244.2.9"]);
    n1.must(["ip", "rule", "add", ...lookup]);
  };

  test("outlives the peer, which is removed before the counters are read", async () => {
    await leak(1);
    await wgMust(n1, ["peer", "remove", "n2"]);
    expect(await known()).toEqual([]);
    await importPeers(n1, [record]);
    expect(await known()).toEqual([["n2", 1]]);
  });

  test("is not taken from what a peer that was removed and came back at once counts anew", async () => {
    // Its element begins at zero again, and nobody reads it until it has counted more than the one before.
    for (const packets of [2, 3]) {
      await wgMust(n1, ["peer", "remove", "n2"]);
      await importPeers(n1, [record]);
      await leak(packets);
    }
    expect(await known()).toEqual([["n2", 6]]);
    await wgMust(n1, ["peer", "remove", "n2"]);
    await importPeers(n1, [record]);
    expect(await known()).toEqual([["n2", 6]]);
  });

  test("outlives the table, and the node's down and up", async () => {
    n1.must(["nft", "flush", "ruleset"]);
    await wgMust(n1, ["sync"]);
    expect(await known()).toEqual([["n2", 6]]);
    await wgMust(n1, ["down"]);
    await wgMust(n1, ["up"]);
    expect(await known()).toEqual([["n2", 6]]);
  });
}, ["wg", "wireguard-go", "nft"]);
