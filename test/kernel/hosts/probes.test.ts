// Names and ports of ours that others hold must not make a healthy agent look dead, nor
// a dead one healthy: probes ask the agent by a socket in its state directory.
import { beforeEach, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { http } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLabPerTest } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";

const metricsPort = 9586;

interface Doctor {
  readonly findings: readonly { readonly check: string; readonly level: string }[];
}

describeKernel("probes", () => {
  const lab = withLabPerTest("probes");
  let n1: Node;
  beforeEach(async () => {
    n1 = await addNode(lab, 1);
    await wgMust(n1, ["up", ...n1.upArguments]);
  });

  const probe = async (what: "live" | "ready") => (await n1.wg(["probe", what])).exitCode;
  const byPort = (path: string) => http(n1, "127.0.0.1", 5, metricsPort, path);

  test("an agent that has its port answers both ways (control)", async () => {
    await n1.agent();
    expect([await probe("live"), await probe("ready")]).toEqual([0, 0]);
    expect((await byPort("/readyz")).ok).toBe(true);
  });

  test.each([
    ["refuses every page", 404],
    ["answers every page", 200],
  ])("another server that has the metrics' port and %s changes nothing", async (_, status) => {
    const serve = `Bun.serve({ hostname: "127.0.0.1", port: ${metricsPort}, fetch: () => new Response("theirs", { status: ${status} }) });
      console.error("serving");`;
    const theirs = n1.start([process.execPath, "-e", serve]);
    await theirs.saidOnStderr("serving");
    const agent = await n1.agent();
    expect([await probe("live"), await probe("ready")]).toEqual([0, 0]);
    // A probe by the port would say what the other server says, of an agent that is dead too.
    expect((await byPort("/healthz")).ok).toBe(status === 200);
    await agent.waitFor("another program listens there");
    await agent.kill();
    expect([await probe("live"), await probe("ready")]).toEqual([3, 3]);
    expect((await byPort("/healthz")).ok).toBe(status === 200);
  });

  test("an agent that hangs does not look alive", async () => {
    const agent = await n1.agent();
    agent.freeze();
    expect(await probe("live")).toBe(3);
    agent.thaw();
    await waitUntil(async () => (await probe("live")) === 0, { what: "it is alive again" });
  });

  test("status and doctor agree about an agent that runs, hangs, was killed, or cannot be asked", async () => {
    const verdicts = async () => {
      const [status, doctor] = await Promise.all(["status", "doctor"].map((name) => n1.wg([name, "--json"])));
      const { findings } = JSON.parse(doctor?.stdout ?? "") as Doctor;
      return {
        ...{ status: status?.exitCode, agent: JSON.parse(status?.stdout ?? "").agent.state },
        ...{ doctor: doctor?.exitCode, level: findings.find(({ check }) => check === "agent")?.level },
      };
    };
    const bad = { status: 3, doctor: 3, level: "fail" };
    const agent = await n1.agent();
    expect(await verdicts()).toEqual({ status: 0, doctor: 0, level: "ok", agent: "running" });
    agent.freeze();
    expect(await verdicts()).toEqual({ ...bad, agent: "unanswering" });
    agent.thaw();
    await agent.kill();
    expect(await verdicts()).toEqual({ ...bad, agent: "absent" });
    n1.script([`rm ${n1.stateDir}/agent.sock`, `mkdir -p ${n1.stateDir}/agent.sock/theirs`]);
    await n1.agent();
    expect(await verdicts()).toEqual({ ...bad, agent: "unanswering" });
  });

  test("the socket that a killed agent leaves behind is taken over", async () => {
    await (await n1.agent()).kill();
    expect(await probe("live")).toBe(3);
    await n1.agent();
    expect([await probe("live"), await probe("ready")]).toEqual([0, 0]);
  });

  test("an agent whose socket's name is taken works, and looks alive", async () => {
    n1.script([`mkdir -p ${n1.stateDir}/agent.sock/theirs`]);
    await n1.agent();
    expect(await probe("live")).toBe(0);
    expect((await byPort("/readyz")).ok).toBe(true);
  });

  test("a file in the place of the directory of userspace sockets is named, and the agent is alive", async () => {
    await wgMust(n1, ["down"]);
    n1.script(["rm -rf /run/wireguard", "touch /run/wireguard"]);
    const up = await n1.wg(["up"]);
    expect(up.exitCode).toBe(1);
    expect(up.stdout).toContain("/run/wireguard");
    await n1.agent();
    expect([await probe("live"), await probe("ready")]).toEqual([0, 3]);
    n1.script(["rm /run/wireguard", "mkdir /run/wireguard"]);
    await waitUntil(async () => (await probe("ready")) === 0, {
      what: "the node is ready",
      timeoutMs: 60_000,
    });
  });
});
