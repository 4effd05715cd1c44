// A peer cannot have this node encrypt its own encrypted packets. A packet that comes out of the tunnel marks its
// connection, so that answers go back into the tunnel. If it belongs to the connection of the encrypted packets
// themselves, these would be routed into the device that they come from, without end: gigabytes a minute, and no
// packet to the peer. Two ways lead there: a hostile peer, and a closed port, whose ICMP errors come by the tunnel.
//
//   n2, hostile ── tunnel ──► n1: udp 192.0.2.2:51820 > 192.0.2.1:51820
//   n1 ── udp 192.0.2.1:51820 > 192.0.2.2:51820 ──► its own device?
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { forge } from "../support/forger.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import { addNode, devices } from "../support/mesh-reference.ts";

const ports = [51820, 51821] as const;
/** Of one ping each way, with the handshakes and keepalives of a few seconds; a loop makes it in a millisecond. */
const maxBytes = 100_000;

describeKernel("encrypted packets", () => {
  setDefaultTimeout(90_000);
  const lab = withLab("twice");
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;
  let agents: readonly Agent[];

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    ({ agents } = await joinByRecords([n1, n2]));
    [p1, p2] = (await addPods([n1, n2])) as [Pod, Pod];
    await awaitTunnels([n1, n2]);
    // From here on the attacker alone acts on the peer.
    await agents[1]?.kill();
  }, 90_000);

  const sentBytes = () =>
    n1
      .must(["wg", "show", "all", "transfer"])
      .trim()
      .split("\n")
      .reduce((sum, line) => sum + Number(line.split("\t")[3]), 0);

  async function encryptsOnce(): Promise<void> {
    const before = sentBytes();
    const answered = [await ping(p1, p2.ip(4)), await ping(p2, p1.ip(4))].map(({ received }) => received);
    expect(answered).toEqual([3, 3]);
    await Bun.sleep(500);
    expect(sentBytes() - before).toBeLessThan(maxBytes);
  }

  test("are encrypted once: the control", encryptsOnce);

  test("are encrypted once after the peer has sent packets of their connection through the tunnel", async () => {
    for (const dev of devices)
      for (const port of ports)
        forge(n2, [{ to: "192.0.2.1", sourcePort: port, port, payload: "04000000", dev }]);
    await encryptsOnce();
  });

  test("are encrypted once after the port of the peer was closed, which it told through the tunnel", async () => {
    const listen = (offset: number) =>
      n2.script(devices.map((dev, i) => `wg set ${dev} listen-port ${(ports[i] as number) + offset}`));
    listen(-10_000);
    // Sent to the closed port: the error comes back by the tunnel, which the peer has kept.
    n1.exec(["ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", p1.ip(4), p2.ip(4)]);
    p1.exec(["ping", "-c", "3", "-i", "0.2", "-W", "1", p2.ip(4)]);
    listen(0);
    // The peer is heard from its port again.
    p2.exec(["ping", "-c", "2", "-i", "0.2", "-W", "1", p1.ip(4)]);
    await encryptsOnce();
  });
});
