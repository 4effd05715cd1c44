// A restart of the agent loses no packet. It is stopped, killed
// and replaced by another executable under streams of 1000 packets a second
// each way between pods of two nodes, both families.
import { beforeAll, expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import type { Agent } from "../../lab/agent.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { binary, repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { eachWay, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, routeLines, tables } from "../support/mesh-reference.ts";

const installed = "/run/bin/wg-cni";
/** Before, between and after. */
const phaseMs = 500;
const testMs = 120_000;

describeKernel("an agent that is restarted", () => {
  const lab = withLab("restart");
  let n1: Node;
  let n2: Node;
  let p1: Pod;
  let p2: Pod;
  let agent: Agent;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    await joinMesh([n1, n2]);
    p1 = n1.pod("p1");
    p2 = n2.pod("p2");
    await n1.runtime.add(readConfList(`${repository}/conf/10-ptp.conflist`), p1);
    await n2.runtime.add(readConfList(`${repository}/conf/10-bridge.conflist`), p2);
    n1.script(["mkdir -p /run/bin", `cp ${binary} ${installed}`]);
    await n2.agent();
    agent = await start();
    const answers = () => p1.exec(["ping", "-q", "-c", "1", "-W", "1", p2.ip(4)]).exitCode === 0;
    await waitUntil(answers, { what: "the pods reach each other" });
    for (const node of [n1, n2]) expect(routeLines(node, 4, tables.pods).join()).toContain("dev wg-cni-");
  }, testMs);
  const start = () => n1.agent({ program: installed });
  /** Counts the packets of the wire's four flows that are lost during `deed`. */
  const lostWhile = async (deed: () => Promise<unknown>) => {
    const flows = ([4, 6] as const).flatMap((family) => eachWay([[p1, p2]], family));
    const streams = await Streams.start(flows);
    const capture = await lab.capture();
    await Bun.sleep(phaseMs);
    await deed();
    await Bun.sleep(phaseMs);
    const results = await streams.stop();
    const { packets } = await capture.tally();
    await capture.stop();
    expect(results.every(({ sent }) => sent > phaseMs)).toBe(true);
    expect(packets.plaintext).toBe(0);
    return losses(results);
  };

  test(
    "stopped and started again: no packet is lost, none is in plaintext",
    async () => {
      const lost = await lostWhile(async () => {
        expect(await agent.stop()).toMatchObject({ exitCode: 0 });
        await Bun.sleep(phaseMs);
        agent = await start();
      });
      expect(lost).toEqual({});
    },
    testMs,
  );

  test(
    "killed and started again: no packet is lost, none is in plaintext",
    async () => {
      const lost = await lostWhile(async () => {
        await agent.kill();
        await Bun.sleep(phaseMs);
        agent = await start();
      });
      expect(lost).toEqual({});
    },
    testMs,
  );

  test(
    "upgraded: its file is replaced under it, then the new one is started; no packet is lost",
    async () => {
      const program = () => readlinkSync(`/proc/${agent.pid}/exe`);
      const lost = await lostWhile(async () => {
        n1.script([`cp ${binary} ${installed}.new`, `mv ${installed}.new ${installed}`]);
        expect(program()).toEndWith("(deleted)");
        // The old one goes on: what it has not loaded yet, it has in its own file.
        const before = agent.lines().length;
        n1.must(["ip", "route", "add", "10.99.0.0/16", "dev", "eth0", "table", String(tables.pods)]);
        await agent.waitFor(({ writes }) => Number(writes) > 0, undefined, before);
        await agent.stop();
        agent = await start();
        expect(program()).not.toEndWith("(deleted)");
      });
      expect(lost).toEqual({});
    },
    testMs,
  );
});
