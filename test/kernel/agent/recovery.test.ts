// The recovery steps for a peer that does not answer: each step has a fault that
// it mends, made by hand on a mesh that worked. WireGuard itself needs 15 s to find out, so this takes its time.
import { beforeAll, expect, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { wgDump, wgJson } from "../support/mesh-reference.ts";
import { mendMs, SilenceContext } from "../support/silence.ts";

/** WireGuard's KEEPALIVE_TIMEOUT, and some. */
const passiveKeepaliveMs = 12_000;
const testMs = 280_000;

describeKernel("recovery steps", () => {
  const lab = withLab("recovery");
  let context: SilenceContext;

  beforeAll(async () => {
    context = await SilenceContext.create(lab);
  }, 60_000);

  test(
    "a wrong endpoint is set right, a blocked port is left for the other slot; each step is one log line",
    async () => {
      const { n1, n2, n3, agent } = context;
      await waitUntil(() => context.answers(n2) && context.answers(n3), { what: "both peers answer" });
      // The agent tries the other slot once by itself. A handshake there during the silence would end it.
      const isTried = () =>
        Object.values(wgDump(n1)["wg-cni-b"]?.peers ?? {}).every((one) => one.handshake > 0);
      await waitUntil(isTried, { what: "handshakes on slot b" });
      const keyOfN2 = (await wgJson<NodeRecord>(n2, ["node", "show"])).slots[0]!.publicKey;
      // As if the peer had roamed to where nothing is: something was received since the agent has read the device.
      agent.freeze();
      expect(context.answers(n2)).toBe(true);
      // Its last passive keepalive must be over, or it would set the endpoint right by itself.
      await Bun.sleep(passiveKeepaliveMs);
      n1.must(["wg", "set", "wg-cni-a", "peer", keyOfN2, "endpoint", "192.0.2.77:51820"]);
      agent.thaw();
      // UDP is blocked one way: what node 3 sends arrives, what it is sent does not.
      n3.script([
        "nft add table inet block",
        "nft 'add chain inet block input { type filter hook prerouting priority -400; }'",
        "nft add rule inet block input udp dport 51820 drop",
      ]);
      for (const node of [n2, n3]) context.ping(node);
      await context.says(n2, "answers");
      expect(context.silences(n2).map(({ step }) => step)).toEqual(["reset-endpoint"]);
      expect(wgDump(n1)["wg-cni-a"]?.peers[keyOfN2]?.endpoint).toBe("192.0.2.2:51820");
      await waitUntil(async () => (await context.peer(n3))?.slot === "b", {
        what: "node 3 is reached on slot b",
        timeoutMs: mendMs,
      });
      expect(context.silences(n3).map(({ step }) => step)).toEqual([
        "reset-endpoint",
        "re-add",
        "other-slot",
      ]);
      await waitUntil(() => context.answers(n3), { what: "node 3 answers on slot b" });
      await waitUntil(async () => (await context.peer(n3))?.state === "encrypted", {
        what: "status says encrypted",
      });
      // All of it was the agent's own doing, or the peers'.
      expect(agent.lines().filter(({ message }) => message.includes("another process"))).toEqual([]);
    },
    testMs,
  );
});
