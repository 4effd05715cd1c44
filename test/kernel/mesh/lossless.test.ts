// A peer keeps working while the mesh around it changes: 200 requests a second
// through it, and not one is lost while other peers come, go and exchange
// networks, nor while the peer itself gains and loses some.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { losses, Streams } from "../../lab/stream.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { addNode, importPeers, missing, paperRecord, wgDump, wgMust } from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

const rate = 200;
const streamMs = 5000;
const target = { 4: "10.244.2.9", 6: "fd00:10:244:2::9" } as const;

describe.skipIf(missing !== undefined)("no request is lost", () => {
  const lab = withLab("lossless");
  let n1: Node;
  let n2: Node;
  let other: NodeRecord;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    other = (await joinMesh([n1, n2]))[1]!;
    n2.script([
      "ip link add pod0 type bridge",
      `ip address add ${target[4]}/32 dev pod0`,
      `ip address add ${target[6]}/128 dev pod0 nodad`,
      "ip link set pod0 up",
    ]);
    // The handshake is made, and IPv6 has found its neighbour.
    expect(await ping(n1, target[4])).toMatchObject({ received: 3 });
    expect(await ping(n1, target[6])).toMatchObject({ received: 3 });
  });

  /** Does the changes over and over while the requests run; at least twice each. Returns the losses. */
  async function lostDuring(family: 4 | 6, changes: readonly (() => Promise<unknown>)[]) {
    const flow = { name: "n1 -> n2", from: n1, to: n2, toIp: target[family], echo: true };
    const streams = await Streams.start([flow], { rate });
    const endMs = performance.now() + streamMs;
    let done = 0;
    while (performance.now() < endMs || done < 2 * changes.length) await changes[done++ % changes.length]!();
    return losses(await streams.stop());
  }

  const twenty = (change: Partial<NodeRecord> = {}) =>
    Array.from({ length: 20 }, (_, i) => paperRecord(i + 1, change));

  test.each([4, 6] as const)("while other peers are added and removed, IPv%i", async (family) => {
    const lost = await lostDuring(family, [
      () => importPeers(n1, twenty()),
      () => wgMust(n1, ["peer", "remove", "paper-3"]),
      () => wgMust(n1, ["peer", "remove", "paper-17"]),
    ]);
    expect(lost).toEqual({});
  });

  test("while other peers lose their networks, get them back, and exchange them", async () => {
    const [one, two] = [paperRecord(1), paperRecord(2)];
    const lost = await lostDuring(4, [
      () => importPeers(n1, twenty({ podCIDRs: [] })),
      () => importPeers(n1, twenty()),
      () =>
        importPeers(n1, [
          { ...one, podCIDRs: two.podCIDRs },
          { ...two, podCIDRs: one.podCIDRs },
        ]),
      () => importPeers(n1, twenty({ slots: [] })),
    ]);
    expect(lost).toEqual({});
  });

  test.each([4, 6] as const)(
    "while the peer itself gains and loses networks and addresses, IPv%i",
    async (family) => {
      const wider = {
        podCIDRs: [...other.podCIDRs, "10.250.0.0/24", "fd01:250::/64"],
        nodeIPs: [...other.nodeIPs, "198.19.0.1"],
      };
      const lost = await lostDuring(family, [
        () => importPeers(n1, [{ ...other, ...wider }]),
        () => importPeers(n1, [other]),
      ]);
      expect(lost).toEqual({});
      await importPeers(n1, [other]);
      const allowed = [...other.podCIDRs, "192.0.2.2/32", "2001:db8::2/128"].sort();
      expect(wgDump(n1)["wg-cni-a"]?.peers[other.slots[0]!.publicKey]?.allowedIPs).toEqual(allowed);
    },
  );

  test("while a network moves from another peer to this one and back", async () => {
    const lost = await lostDuring(4, [
      () =>
        importPeers(n1, [
          paperRecord(1, { podCIDRs: [] }),
          { ...other, podCIDRs: [...other.podCIDRs, "10.128.1.0/24"] },
        ]),
      () => importPeers(n1, [other, paperRecord(1)]),
    ]);
    expect(lost).toEqual({});
  });

  test("while the peer changes, and while everything is synced again", async () => {
    const lost = await lostDuring(4, [
      () => importPeers(n2, twenty()),
      () => wgMust(n1, ["sync"]),
      () => wgMust(n2, ["up", "--persistent-keepalive", "25"]),
      () => wgMust(n2, ["up", "--persistent-keepalive", "0"]),
    ]);
    expect(lost).toEqual({});
  });
});
