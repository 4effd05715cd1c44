// How a test holds an agent: start, log, and every kind of end.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { describeKernel } from "../kernel/support/gate.ts";
import { Lab } from "./lab.ts";
import type { Node } from "./node.ts";
import { waitUntil } from "./wait.ts";
import { withLab } from "./with-lab.ts";

describeKernel("an agent in a lab", () => {
  const lab = withLab("agents");
  let node: Node;

  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: ["10.244.1.0/24"] });
    expect(await node.wg(["up", ...node.upArguments])).toMatchObject({ exitCode: 0 });
  });
  test("is ready when it has reconciled, logs JSON, and says how it ended", async () => {
    const agent = await node.agent({ args: ["--log-level", "debug"] });
    const reconciled = await agent.waitFor("reconciled");
    expect(reconciled).toMatchObject({ level: "debug" });
    expect(agent.lines()).toContain(reconciled);
    const before = agent.lines().length;
    node.must(["ip", "route", "flush", "table", "18099"]);
    node.must(["ip", "rule", "delete", "priority", "98"]);
    const repaired = await agent.waitFor(({ writes }) => Number(writes) > 0, 20_000, before);
    expect(agent.lines().indexOf(repaired)).toBeGreaterThanOrEqual(before);
    expect(existsSync(`/proc/${agent.pid}`)).toBe(true);
    expect(await agent.stop()).toMatchObject({ exitCode: 0 });
    expect(existsSync(`/proc/${agent.pid}`)).toBe(false);
    expect(agent.lines().at(-1)?.message).toContain("the mesh stays as it is");
  });

  test("killed, it says nothing more, and another one takes over", async () => {
    const agent = await node.agent();
    const said = agent.lines().length;
    expect((await agent.kill()).exitCode).toBeGreaterThanOrEqual(128);
    expect(agent.lines().length).toBe(said);
    const next = await node.agent();
    expect(next.pid).not.toBe(agent.pid);
    await next.stop();
  });

  test("a line that does not come is an error with the log, and so is an end", async () => {
    const agent = await node.agent({ args: ["--log-level", "debug"] });
    await agent.waitFor("reconciled");
    const late = agent.waitFor("snow", 50);
    await expect(late).rejects.toThrow(
      /Not within 50 ms: the line "snow" of n1's agent, which said:\n.*reconciled/s,
    );
    await expect(node.agent()).rejects.toThrow("Another agent has the store");
    const ended = agent.waitFor("snow").catch((error: Error) => error.message);
    await agent.stop();
    expect(await ended).toContain('agent --log-format json --log-level debug" ended with 0');
  });

  test("ends with the lab", async () => {
    const other = await Lab.create("short");
    const alone = await other.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    expect(await alone.wg(["up", ...alone.upArguments])).toMatchObject({ exitCode: 0 });
    const agent = await alone.agent();
    other[Symbol.dispose]();
    expect(existsSync(`/proc/${agent.pid}`)).toBe(false);
  });

  test("ends with the lab and leaves nothing behind, also after it was frozen", async () => {
    const other = await Lab.create("frozen");
    const alone = await other.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    expect(await alone.wg(["up", ...alone.upArguments])).toMatchObject({ exitCode: 0 });
    const agent = await alone.agent();
    const wrapper = readFileSync(`/proc/${agent.pid}/status`, "utf8").match(/^PPid:\t(\d+)$/m)?.[1];
    const state = (pid: number | string) => readFileSync(`/proc/${pid}/stat`, "utf8").match(/\) (\w)/)?.[1];
    agent.freeze();
    for (const pid of [agent.pid, wrapper as string])
      await waitUntil(() => state(pid) === "T", { what: "agent and nsenter are stopped" });
    agent.thaw();
    await waitUntil(() => state(agent.pid) !== "T", { what: "the agent goes on" });
    other[Symbol.dispose]();
    await waitUntil(() => !existsSync(`/proc/${wrapper}`), { what: "nsenter has ended" });
  });
});
