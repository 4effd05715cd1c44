// A node whose handshakes nobody answers: the firewall of the other node admits only answers, as
// cloud security groups and host firewalls do (a clock that was set back looks the same: WireGuard
// drops handshakes with old timestamps). The other side has nothing to send and does not notice. The
// record of the node asks it to begin, and it does.
//
//   n2 ── ping ──► n1: drop handshake initiations at udp dport 51820, 51821
import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { Agent, LogLine } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, killBehind } from "../support/mesh-reference.ts";
import { mendMs } from "../support/silence.ts";

const podIp = "10.244.1.9";
/** A device that is made anew performs a handshake at once if it may. */
const controlMs = 20_000;
/**
 * Node 1 waits for the answer to its last packet, and begins a handshake itself if there is none:
 * after 15 s (KEEPALIVE_TIMEOUT and REKEY_TIMEOUT). Then it has nothing more to send.
 */
const quietMs = 20_000;

describeKernel("a firewall that admits only answers", () => {
  const lab = withLab("one-way");
  let n1: Node;
  let n2: Node;
  let agents: readonly Agent[];
  let recordsDir: string;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    ({ agents, recordsDir } = await joinByRecords([n1, n2]));
    n1.script(["ip link add pod0 type bridge", `ip address add ${podIp}/32 dev pod0`, "ip link set pod0 up"]);
    await waitUntil(() => isOpen(n1) && isOpen(n2), { what: "both gates open", timeoutMs: 40_000 });
  }, 90_000);
  const isOpen = (node: Node) => node.must(["ip", "route", "show", "table", "18099"]).includes("dev wg-cni-");
  const answers = () => n2.exec(["ping", "-q", "-c", "1", "-W", "1", podIp]).exitCode === 0;
  /** Its sessions are gone; those of node 1 are not. */
  const loseSessions = async () => {
    n2.script(devices.map(killBehind));
    // Until the agent has made the devices anew, permissive mode reaches node 1 without them.
    await waitUntil(() => isOpen(n2), { what: "node 2 has devices again" });
  };
  const asked = (): unknown => JSON.parse(readFileSync(`${recordsDir}/n2.json`, "utf8")).wantsHandshakeFrom;

  test(
    "without it, node 2 performs a new handshake by itself; with it, its record asks node 1 to begin",
    async () => {
      // The control. Until here node 1 had no traffic with node 2.
      await loseSessions();
      await waitUntil(answers, { what: "node 1 answers", timeoutMs: controlMs });
      expect(asked()).toBeUndefined();
      n1.script([
        "nft add table inet block",
        "nft 'add chain inet block input { type filter hook input priority 0; }'",
        // Every handshake initiation (type 1), without a look at conntrack: whatever node 1 sends by
        // itself, a sign of life for example, would let the initiations of node 2 in for a moment.
        "nft add rule inet block input udp dport { 51820, 51821 } @th,64,8 1 drop",
      ]);
      await Bun.sleep(quietMs);
      await loseSessions();
      n2.start(["ping", "-q", "-i", "0.5", podIp], { timeoutMs: 0 });
      await waitUntil(answers, { what: "node 1 answers again", timeoutMs: mendMs, everyMs: 500 });
      expect(asked()).toEqual(["n1"]);
      const [, agent2] = agents as [Agent, Agent];
      // On the slot that was silent, or on the other one if node 1's handshake is seen there first.
      const isBack = ({ peer, message, why }: LogLine) =>
        peer === "n1" && (message.includes("answers again") || why === "silent");
      await agent2.waitFor(isBack, mendMs);
      // Its own tries came to nothing.
      expect(agent2.lines().filter(({ step, peer }) => step !== undefined && peer === "n1")).not.toEqual([]);
      // Node 1 goes on admitting only answers, and keeps the session: node 2 is not silent again.
      const before = agent2.lines().length;
      await Bun.sleep(3000);
      expect(answers()).toBe(true);
      expect(
        agent2
          .lines()
          .slice(before)
          .filter((line) => line.step !== undefined),
      ).toEqual([]);
    },
    mendMs + 120_000,
  );
});
