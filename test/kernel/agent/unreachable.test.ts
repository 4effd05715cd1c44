// A peer that cannot be reached, and packets that this node's own kernel refuses
// to send, which do not even count as sent: the agent says so, and what it does
// about it ends when the fault does.
import { beforeAll, expect, test } from "bun:test";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { SilenceContext } from "../support/silence.ts";

const testMs = 280_000;

describeKernel("unreachable", () => {
  const lab = withLab("unreachable");
  let context: SilenceContext;

  beforeAll(async () => {
    context = await SilenceContext.create(lab);
  }, 60_000);

  test(
    "a pulled cable, and a firewall of the node's own: said, and mended by themselves",
    async () => {
      const { lab, n1, n2, n3, agent } = context;
      for (const node of [n2, n3]) context.ping(node);
      await waitUntil(() => context.answers(n2) && context.answers(n3), { what: "both peers answer" });
      const before = agent.lines().length;
      lab.wire.must(["ip", "link", "set", "n2", "down"]);
      n1.script([
        "nft add table inet block",
        "nft 'add chain inet block output { type filter hook output priority -400; }'",
        "nft add rule inet block output ip daddr 192.0.2.3 udp dport { 51820, 51821 } drop",
      ]);
      for (const node of [n2, n3]) await context.says(node, "silent", before);
      for (const node of [n2, n3])
        await waitUntil(async () => (await context.peer(node))?.state === "silent", {
          what: `${node.name} is shown as silent`,
        });
      lab.wire.must(["ip", "link", "set", "n2", "up"]);
      n1.must(["nft", "delete", "table", "inet", "block"]);
      for (const node of [n2, n3]) {
        await context.says(node, "answers", before);
        await waitUntil(() => context.answers(node), { what: `${node.name} answers` });
      }
      expect((await agent.stop()).exitCode).toBe(0);
    },
    testMs,
  );
});
