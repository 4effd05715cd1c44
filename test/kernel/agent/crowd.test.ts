// A crowd on one node while its keys are exchanged: two hundred plugin processes at once, commands beside them, and
// the agent that answers all of them. No address is given twice, no packet between nodes is lost or readable, no
// command fails, and nothing of the crowd is left.
import { beforeAll, expect, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { PluginError, readConfList } from "../../lab/runtime.ts";
import { eachWay, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";
import { rows, snapshot, throwRoutes } from "../support/reference.ts";

const crowd = 200;
/** A drain takes ten seconds at least, for each of two slots, and two processors run all of this. */
const rotationMs = 240_000;
const network = readConfList(`${repository}/conf/10-wg-cni-ranges.conflist`);
const commands = [["status"], ["sync"], ["peer", "list"], ["doctor"], ["node", "show"]];

describeKernel(`${crowd} plugin processes at once beside the agent, commands and a rotation`, () => {
  const lab = withLab("crowd");
  const pods: Pod[] = [];
  let n1: Node;
  let agent: Agent;
  let residents: Pod[];
  let capture: Capture;

  beforeAll(async () => {
    const nodes = [await addNode(lab, 1), await addNode(lab, 2)];
    n1 = nodes[0] as Node;
    agent = (await joinByRecords(nodes)).agents[0] as Agent;
    residents = await addPods(nodes);
    await awaitTunnels(nodes);
    for (let i = 0; i < crowd; i++) pods.push(n1.pod(`c${i}`));
    capture = await lab.capture();
  });

  /** As a runtime does: it tries again if the store is locked (code 11), for each process waits five seconds for it. */
  const add = async (pod: Pod): Promise<unknown> => {
    try {
      return await n1.runtime.add(network, pod);
    } catch (error) {
      if (!(error instanceof PluginError) || error.code !== 11) throw error;
      await n1.runtime.del(network, pod);
      return add(pod);
    }
  };

  /** Runs all commands beside the crowd. 3 says that something is not as it should be, which a rotation may be. */
  const command = async () => {
    const ended = await Promise.all(commands.map((argv) => n1.wg(argv)));
    return ended.filter(({ exitCode }) => exitCode !== 0 && exitCode !== 3);
  };

  /** The streams of the test itself lengthen the queues of devices. */
  const lines = () => snapshot(n1).map((line) => line.replace(/ qlen \d+/, ""));

  test("each call is answered, each address is given once, no packet is lost or readable, nothing is left", async () => {
    const before = lines();
    const kept = rows(n1);
    const [one, two] = residents as [Pod, Pod];
    const streams = await Streams.start([...eachWay([[one, two]], 4), ...eachWay([[one, two]], 6)], {
      rate: 100,
    });
    const from = agent.lines().length;
    await wgMust(n1, ["key", "rotate"]);
    const isRotated = () =>
      agent
        .lines()
        .slice(from)
        .some(({ message }) => message.includes("the rotation is done"));
    let waves = 0;
    for (const endMs = performance.now() + rotationMs; !isRotated() && performance.now() < endMs; waves++) {
      const [failed] = await Promise.all([command(), ...pods.map(add)]);
      expect(failed).toEqual([]);
      const ips = pods.flatMap((pod) => [pod.ip(4), pod.ip(6)]);
      expect(new Set(ips).size).toBe(2 * crowd);
      expect(throwRoutes(n1)).toEqual(expect.arrayContaining(ips));
      expect(rows(n1).leases).toHaveLength(kept.leases.length + 2 * crowd);
      const [stillFailed] = await Promise.all([
        command(),
        ...pods.map((pod) => n1.runtime.del(network, pod)),
      ]);
      expect(stillFailed).toEqual([]);
    }
    expect(isRotated()).toBe(true);
    expect(waves).toBeGreaterThan(1);
    expect(losses(await streams.stop())).toEqual({});
    expect((await capture.tally()).packets.plaintext).toBe(0);
    expect(rows(n1)).toEqual(kept);
    // The agent may be between two changes of a pass.
    await waitUntil(() => differences(before, lines()).length === 0, {
      what: () => `no difference: ${differences(before, lines()).join("; ")}`,
    });
  }, 300_000);
});

/** Lines of one list that the other one has not, each with its sign. */
function differences(before: readonly string[], after: readonly string[]): string[] {
  const gone = before.filter((line) => !after.includes(line)).map((line) => `- ${line}`);
  return [...gone, ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`)];
}
