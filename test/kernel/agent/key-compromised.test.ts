// `key rotate --compromised` between two nodes: both keys of one are exchanged
// at once, the other takes nothing from it until it has the new record, and the
// old keys are nowhere afterwards. No agent: records go by hand, then by a directory.
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, importPeers, wgDump, wgJson, wgMust } from "../support/mesh-reference.ts";

const pod = "10.244.2.9";

describeKernel("key rotate --compromised", () => {
  const lab = withLab("compromised");
  let n1: Node;
  let n2: Node;

  const ownKeys = (node: Node) => devices.map((dev) => wgDump(node)[dev]!.publicKey);
  const peerKeys = (node: Node) => devices.flatMap((dev) => Object.keys(wgDump(node)[dev]!.peers));
  const recordOf = (node: Node) => wgJson<NodeRecord>(node, ["node", "show"]);
  const keysOf = (record: NodeRecord) => record.slots.map(({ publicKey }) => publicKey);
  const answered = async () => (await ping(n1, pod, { count: 3 })).received;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    n2.script(["ip link add pod0 type bridge", `ip address add ${pod}/32 dev pod0`, "ip link set pod0 up"]);
    await joinMesh([n1, n2]);
  });
  test("new keys at once; packets are lost until the peer has the record; nothing is left of the old keys", async () => {
    expect(await answered()).toBe(3);
    const old = ownKeys(n1);
    expect(await wgJson(n1, ["key", "rotate", "--compromised"])).toMatchObject({
      ...{ failures: [], peers: 1, publication: { by: "hand", failed: false } },
    });
    expect(ownKeys(n1)).toEqual(keysOf(await recordOf(n1)));
    for (const key of old) expect(ownKeys(n1)).not.toContain(key);
    expect(await answered()).toBe(0);
    await importPeers(n2, [await recordOf(n1)]);
    expect(peerKeys(n2)).toEqual(ownKeys(n1));
    // WireGuard tries a handshake every five seconds.
    await waitUntil(async () => (await answered()) === 3, { what: () => "n2 answers again", everyMs: 100 });
    expect((await wgJson(n1, ["sync"])).writes).toBe(0);
  });

  test("with a records directory the new one is there when the command returns", async () => {
    const directory = `${n1.sharedDirectory}/records`;
    mkdirSync(directory, { recursive: true });
    await wgMust(n1, ["up", "--records-dir", directory]);
    const { publication, peers } = await wgJson<{ publication: unknown; peers: number }>(n1, [
      ...["key", "rotate", "--compromised"],
    ]);
    expect({ publication, peers }).toEqual({ publication: { by: "directory", directory }, peers: 1 });
    const written = JSON.parse(readFileSync(`${directory}/n1.json`, "utf8")) as NodeRecord;
    expect(written).toEqual(await recordOf(n1));
    expect(keysOf(written)).toEqual(ownKeys(n1));
  });

  test("a directory that cannot be written is said, and undoes nothing", async () => {
    await wgMust(n1, ["up", "--records-dir", "/nowhere/records"]);
    const old = ownKeys(n1);
    const { exitCode, stdout } = await n1.wg(["key", "rotate", "--compromised", "--json"]);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      publication: { by: "hand", failed: true, reason: expect.stringContaining("/nowhere/records") },
    });
    for (const key of ownKeys(n1)) expect(old).not.toContain(key);
  });
});
