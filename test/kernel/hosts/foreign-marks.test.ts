// Other people's firewall marks: rules of nftables and iptables that set bits of ours, or
// all of them, on the packets of pods and of this node, before and behind our own chains.
// No such packet skips the tunnel unless its own kernel sends it, and that is counted, and
// dropped in strict mode.
import { beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels, setReversePath, settled } from "../support/hosts.ts";
import { addNode, wgJson, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
/** As Tailscale and Calico set them; each of our bits, both, and every bit there is. */
const marks = ["0x180000", "0x20000000", "0x40000000", "0x60000000", "0xffffffff"];

interface Status {
  readonly peers: readonly {
    readonly plaintext?: { readonly outPackets: number; readonly inPackets: number };
  }[];
}

describeKernel("firewall marks of other software", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("marks");
  let nodes: Node[];
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2)];
    [n1, n2] = nodes as [Node, Node];
    await joinByRecords(nodes);
    [p1, p2] = (await addPods(nodes)) as [Pod, Pod];
    await awaitTunnels(nodes);
  });
  beforeEach(() => {
    n1.script([
      "nft delete table inet theirs 2>/dev/null || true",
      "iptables -t mangle -F; ip6tables -t mangle -F",
    ]);
  });

  const counted = async (node: Node) => {
    await settled(node);
    const { peers } = await wgJson<Status>(node, ["status"]);
    return peers[0]?.plaintext;
  };
  /** Every way by which others give a packet its mark, as commands. */
  const ways = (mark: string): Record<string, string[]> => ({
    "nft, prerouting": [
      "nft add table inet theirs",
      "nft 'add chain inet theirs c { type filter hook prerouting priority mangle; }'",
      `nft add rule inet theirs c iifname != "eth0" meta mark set ${mark}`,
    ],
    "iptables, PREROUTING": [
      ...["iptables", "ip6tables"].map(
        (tool) => `${tool} -t mangle -A PREROUTING ! -i eth0 -j MARK --set-xmark ${mark}/${mark}`,
      ),
    ],
    "nft, everything that arrives": [
      "nft add table inet theirs",
      "nft 'add chain inet theirs c { type filter hook prerouting priority filter; }'",
      `nft add rule inet theirs c meta mark set ${mark}`,
    ],
    "nft, forward and postrouting": [
      "nft add table inet theirs",
      ...["forward", "postrouting"].flatMap((hook) => [
        `nft 'add chain inet theirs ${hook} { type filter hook ${hook} priority -400; }'`,
        `nft add rule inet theirs ${hook} meta mark set ${mark}`,
      ]),
    ],
  });

  for (const mode of ["permissive", "strict"])
    describe(mode, () => {
      beforeAll(async () => {
        for (const node of nodes) await wgMust(node, ["up", "--mode", mode]);
      });

      for (const filter of [0, 1, 2])
        test(`rp_filter ${filter}: packets that are forwarded are encrypted, whatever marks them`, async () => {
          for (const node of nodes) setReversePath(node, filter);
          const before = [await counted(n1), await counted(n2)];
          const capture = await lab.capture();
          const targets = families.flatMap((family) => [p2.ip(family), n2.ip(family) as string]);
          for (const mark of filter === 1 ? marks : marks.slice(0, 1))
            for (const [way, commands] of Object.entries(ways(mark))) {
              n1.script(commands);
              const results = await Promise.all(
                targets.map(async (to) => [way, mark, to, (await ping(p1, to)).received]),
              );
              expect(results).toEqual(targets.map((to) => [way, mark, to, 3]));
              n1.script(["nft delete table inet theirs 2>/dev/null || true"]);
              n1.script(["iptables -t mangle -F; ip6tables -t mangle -F"]);
            }
          expect(await capture.packetsOf("plaintext")).toEqual([]);
          await capture.stop();
          expect([await counted(n1), await counted(n2)]).toEqual(before);
        });

      test("what this node itself sends with our mark is counted, and dropped in strict mode", async () => {
        n1.script([
          "nft add table inet theirs",
          "nft 'add chain inet theirs c { type route hook output priority mangle; }'",
          "nft add rule inet theirs c icmp type echo-request meta mark set 0x20000000",
        ]);
        const before = await counted(n1);
        const capture = await lab.capture();
        const { received } = await ping(n1, p2.ip(4));
        const readable = (await capture.packetsOf("plaintext")).length;
        await capture.stop();
        const out = ((await counted(n1))?.outPackets ?? 0) - (before?.outPackets ?? 0);
        expect(out).toBe(3);
        expect([received, readable]).toEqual(mode === "strict" ? [0, 0] : [3, 3]);
      });
    });
});
