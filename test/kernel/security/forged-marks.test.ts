// A process in the host's network that may open raw sockets (NET_RAW) imitates our encrypted
// packets: their mark, their source port, the beginning of their messages. To a pod all of it
// is counted, and dropped in strict mode. With host encryption no mark that it sets leads a
// packet to another node past the tunnel.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { familyOf } from "../../../src/net/ip.ts";
import type { Capture } from "../../lab/capture.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { withLab } from "../../lab/with-lab.ts";
import { type Forged, forge } from "../support/forger.ts";
import { describeKernel } from "../support/gate.ts";
import { countedOut, encryptHost } from "../support/host-encryption.ts";
import { addPod } from "../support/hosts.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
const secret = "readable-to-all";
/** As text, and as the data of a message of WireGuard. */
const payloads = [secret, `\x04\0\0\0${secret}`].map((text) => Buffer.from(text).toString("hex"));
/** Nobody has these: n1 translates them to the other node's address. */
const services = { 4: "198.18.0.1", 6: "2001:db8:18::1" } as const;
const outside = 0x20000000;
const inside = 0x40000000;
const arrived = 0x60000000;
/** All that lead past the tunnel; the last has the bits of others too. */
const past = [outside, arrived, 0xffffffff];
const wireguardPort = 51820;

describeKernel("forged marks", () => {
  setDefaultTimeout(60_000);
  const lab = withLab("forged");
  let n1: Node;
  let n2: Node;
  let p2: Pod;
  let capture: Capture;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    await joinMesh([n1, n2]);
    p2 = await addPod(n2, "p2", "standalone");
    n1.script([
      "nft add table inet proxy",
      "nft 'add chain inet proxy output { type nat hook output priority -100; }'",
      `nft add rule inet proxy output ip daddr ${services[4]} dnat ip to ${n2.ip(4)}`,
      `nft add rule inet proxy output ip6 daddr ${services[6]} dnat ip6 to ${n2.ip(6)}`,
    ]);
    capture = await lab.capture();
  });
  /** How many of the packets an eavesdropper can read, and how many n1 has counted. */
  const outcome = async (packets: readonly Forged[]) => {
    const before = [await capture.readable(secret), countedOut(n1)] as const;
    forge(n1, packets);
    return {
      readable: (await capture.readable(secret)) - before[0],
      counted: countedOut(n1) - before[1],
    };
  };
  const variations = (
    target: Node | Pod,
    marks: readonly number[],
    devs: readonly (string | undefined)[],
  ): Forged[] =>
    families.flatMap((family) =>
      marks.flatMap((mark) =>
        devs.flatMap((dev) =>
          payloads.map((payload) => ({
            ...{ to: target.ip(family) as string, sourcePort: wireguardPort, port: wireguardPort },
            ...{ payload, mark, ...(dev === undefined ? {} : { dev }) },
          })),
        ),
      ),
    );

  for (const mode of ["permissive", "strict"])
    test(`${mode}: what leaves to a pod in plaintext is counted, whatever it looks like`, async () => {
      await wgMust(n1, ["up", "--mode", mode]);
      const leaving = [
        ...variations(p2, past, [undefined]),
        ...variations(p2, [0, inside, ...past], ["eth0"]),
      ];
      const all = leaving.length;
      expect(await outcome(leaving)).toEqual({ readable: mode === "strict" ? 0 : all, counted: all });
      // The routes alone lead into the tunnel, and so does the mark that says so.
      expect(await outcome(variations(p2, [0, inside], [undefined]))).toEqual({ readable: 0, counted: 0 });
    });

  test("with host encryption: to a node goes nothing past the tunnel but what looks encrypted", async () => {
    for (const strict of [false, true]) {
      encryptHost(n1, n2, { routed: true, strict });
      encryptHost(n2, n1, { routed: true, strict });
      const forged = variations(n2, [0, inside, ...past], [undefined]).filter(
        ({ payload }) => payload === payloads[0],
      );
      const toService = forged.map((packet) => ({ ...packet, to: services[familyOf(packet.to)] }));
      expect((await outcome([...forged, ...toService])).readable).toBe(0);
      // The control: without those chains the marks do lead past it.
      for (const [chain, packets] of [["marked", forged] as const, ["translated", toService] as const]) {
        n1.must(["nft", "flush", "chain", "inet", "wg-cni", chain]);
        expect((await outcome(packets)).readable).toBe(families.length * past.length);
      }
    }
  });
});
