// A source that the other nodes do not know, on a node that announces each of its pods:
// they drop what comes from it by the tunnel. It stays outside, answered and counted; strict
// mode refuses it, and counts that.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPod, awaitTunnels, setReversePath, settled } from "../support/hosts.ts";
import { addNode, wgJson, wgMust } from "../support/mesh-reference.ts";

const sent = 3;
const bridge = ["10.99.0.0/24", "fd00:99::/64"] as const;
const unknownSource = { 4: "10.99.0.5", 6: "fd00:99::5" } as const;

interface Status {
  readonly peers: readonly { readonly plaintext?: { readonly outPackets: number } }[];
}

describeKernel("a source that peers do not know", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("unknown");
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;
  let container: Pod;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    await joinByRecords([n1, n2], { upOptions: ["--pod-addresses", "pods"] });
    [p1, p2] = [await addPod(n1, "p1", "chained"), await addPod(n2, "p2", "chained")];
    await awaitTunnels([n1, n2]);
    // A container engine's bridge, whose network the others can route.
    container = n1.pod("container");
    n1.script([
      "ip link add docker0 type bridge",
      "ip address add 10.99.0.1/24 dev docker0",
      "ip address add fd00:99::1/64 dev docker0 nodad",
      "ip link set docker0 up",
      "ip link add veth0 type veth peer name eth0 netns container",
      "ip link set veth0 master docker0 up",
    ]);
    container.script([
      "ip address add 10.99.0.5/24 dev eth0",
      "ip address add fd00:99::5/64 dev eth0 nodad",
      "ip link set eth0 up",
      "ip route add default via 10.99.0.1",
      "ip route add default via fd00:99::1",
    ]);
    n2.script(bridge.map((cidr, i) => `ip route add ${cidr} via ${n1.ip(i === 0 ? 4 : 6)}`));
  });
  const counted = async () => {
    await settled(n1);
    return (await wgJson<Status>(n1, ["status"])).peers[0]?.plaintext?.outPackets ?? Number.NaN;
  };

  for (const mode of ["permissive", "strict"])
    for (const filter of [0, 1, 2])
      test(`${mode}, rp_filter ${filter}`, async () => {
        await wgMust(n1, ["up", "--mode", mode]);
        setReversePath(n1, filter);
        for (const family of [4, 6] as const) {
          const before = await counted();
          const capture = await lab.capture();
          const { received } = await ping(container, p2.ip(family));
          const outside = (await capture.packets()).filter(({ source }) => source === unknownSource[family]);
          expect([received, outside.length, (await counted()) - before]).toEqual(
            mode === "strict" ? [0, 0, sent] : [sent, sent, sent],
          );
          // The control: a pod that is announced.
          expect(await ping(p1, p2.ip(family))).toMatchObject({ received: sent });
          expect(await capture.packetsOf("plaintext")).toHaveLength(mode === "strict" ? 0 : 2 * sent);
          await capture.stop();
        }
      });
});
