// Sessions that a node's devices have lost: what the others go on sending into
// them is lost until they find out, which takes WireGuard up to 15 s. The agent's
// repair makes new ones at once, also if all traffic comes from outside.
import { beforeAll, expect, test } from "bun:test";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { flow, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, killBehind } from "../support/mesh-reference.ts";

/** WireGuard alone takes 15 s from the first packet of the stream, or from its last keepalive that came. */
const longestGapMs = 8000;
const watchMs = 10_000;

describeKernel("lost sessions", () => {
  const lab = withLab("sessions");
  let n1: Node;
  let n2: Node;
  const pods: Pod[] = [];

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    await joinByRecords([n1, n2]);
    for (const node of [n1, n2]) {
      const pod = node.pod("pod");
      await node.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
      pods.push(pod);
    }
    const isOpen = (node: Node) =>
      node.must(["ip", "route", "show", "table", "18099"]).includes("dev wg-cni-");
    await waitUntil(() => isOpen(n1) && isOpen(n2), { what: "both gates open", timeoutMs: 40_000 });
  });
  const deeds: readonly [string, readonly string[]][] = [
    ["devices whose process is killed", devices.map(killBehind)],
    ["devices that are set down", devices.map((dev) => `ip link set ${dev} down`)],
  ];

  test.each(deeds)("%s: what comes from outside is lost for a moment only", async (_, commands) => {
    const [p1, p2] = pods as [Pod, Pod];
    const stream = await Streams.start([flow(p2, p1, 4)], { rate: 100, mayLose: true });
    await Bun.sleep(1000);
    n1.script(commands);
    await Bun.sleep(watchMs);
    const [result] = await stream.stop();
    expect(result?.longestGapMs).toBeLessThan(longestGapMs);
    expect(result?.lostRanges.at(-1)?.last ?? 0).toBeLessThan((result?.sent ?? 0) - 1);
  });
});
