// The agent logs a line for a change of state, and none for events that happen on a
// node all day, in either format, at a level that a signal switches.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, routeLines, tables } from "../support/mesh-reference.ts";

/** A busy minute's worth. */
const rounds = 10;
const podsARound = 3;
const flapsARound = 5;
/** Metrics, the peer's gate, its first programming. */
const linesOfAStart = 5;
/** Two looks are 250 ms apart. */
const anotherLookMs = 1000;

describeKernel("an agent's log", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("log");
  let n1: Node;
  let n2: Node;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    await joinMesh([n1, n2]);
    n1.script(["ip link add foreign type bridge", "ip address add 198.51.100.1/24 dev foreign"]);
  });
  const list = readConfList(`${repository}/conf/10-wg-cni.conflist`);
  const busyMinute = async () => {
    for (let round = 0; round < rounds; round++) {
      const pods: Pod[] = [];
      for (let i = 0; i < podsARound; i++) {
        const pod = n1.pod(`p${i}`);
        await n1.runtime.add(list, pod);
        pods.push(pod);
      }
      n1.script(
        Array.from({ length: flapsARound }, () => "ip link set foreign up; ip link set foreign down"),
      );
      for (const pod of pods) {
        await n1.runtime.del(list, pod);
        pod.remove();
      }
    }
  };
  const opened = () =>
    waitUntil(() => routeLines(n1, 4, tables.pods).join().includes("10.244.2.0/24 dev wg-cni-"), {
      what: "the gate is open",
    });

  test("pods that come and go and a foreign device that flaps are not worth a line", async () => {
    const agent = await n1.agent();
    await opened();
    expect(agent.lines().length).toBeLessThanOrEqual(linesOfAStart);
    const before = agent.lines().length;
    await busyMinute();
    expect(agent.lines().slice(before)).toEqual([]);
    const ended = await agent.stop();
    // Every line of it is JSON, with a time, a level and a sentence.
    const lines = ended.stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toEqual(agent.lines() as unknown[]);
    for (const { time, level, message } of lines) {
      expect(new Date(time).toISOString()).toBe(time);
      expect(["debug", "info", "warn", "error"]).toContain(level);
      expect(message).toBeString();
    }
  });

  test("as text, a line is a time, a level, a sentence and fields", async () => {
    const agent = await n1.agent({ format: "text" });
    n1.must(["ip", "route", "add", "10.99.0.0/16", "dev", "eth0", "table", String(tables.pods)]);
    await waitUntil(() => !routeLines(n1, 4, tables.pods).join().includes("10.99.0.0/16"), {
      what: "a foreign route is removed",
    });
    const { stderr } = await agent.stop();
    const lines = stderr.trim().split("\n");
    for (const line of lines) expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z (info |warn |error) \S/);
    const changed = lines.filter((line) => line.includes("mesh changed"));
    expect(changed).toHaveLength(1);
    expect(changed[0]).toMatch(/ reason=route writes=1 first="ip route delete 10\.99\.0\.0\/16 .*"$/);
  });

  test("what it has mended is not looked at a second time", async () => {
    const agent = await n1.agent({ args: ["--log-level", "debug"] });
    await opened();
    const looks = () =>
      agent
        .lines()
        .filter(({ message }) => message === "reconciled")
        .flatMap(({ reason }) => /route|firewall/.exec(String(reason))?.[0] ?? []);
    const from = looks().length;
    for (const damage of [
      ["ip", "route", "flush", "table", String(tables.pods)],
      ["nft", "flush", "chain", "inet", "wg-cni", "prerouting"],
    ]) {
      const line = agent.waitFor("mesh changed", undefined, agent.lines().length);
      n1.must(damage);
      await line;
      await Bun.sleep(anotherLookMs);
    }
    expect(looks().slice(from)).toEqual(["route", "firewall"]);
    await agent.stop();
  });

  test("SIGUSR1 switches debug lines on, and off again", async () => {
    const agent = await n1.agent();
    const reconciled = () => agent.lines().filter(({ level }) => level === "debug").length;
    // Of two families, because a repair that is needed again soon is no line of its own.
    const initiate = (family: 4 | 6) =>
      n1.must(["ip", `-${family}`, "route", "flush", "table", String(tables.pods)]);
    const changed = () => agent.waitFor("mesh changed", undefined, agent.lines().length);
    expect(reconciled()).toBe(0);
    process.kill(agent.pid, "SIGUSR1");
    expect(await agent.waitFor("log level changed")).toMatchObject({ to: "debug" });
    let line = changed();
    initiate(4);
    await line;
    expect(reconciled()).toBeGreaterThan(0);
    const from = agent.lines().length;
    process.kill(agent.pid, "SIGUSR1");
    await agent.waitFor("log level changed", undefined, from);
    const before = reconciled();
    line = changed();
    initiate(6);
    await line;
    expect(reconciled()).toBe(before);
    await agent.stop();
  });
});
