// Metrics and health of a real agent, over HTTP in its node's namespace.
// Witnesses are ip and wg.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { pluginConf } from "../../lab/runtime.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { type Metric, parseExposition } from "../../telemetry/exposition.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";

const plugin = { type: "wg-cni", ipam: {} };
const list = { cniVersion: "1.0.0", name: "pods", plugins: [plugin] };
/** An address that is taken is tried again after half a minute; the machine may be busy. */
const timeoutMs = 90_000;

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A request from within the node, by the shell alone. */
async function get(node: Node, path: string, port = 9586): Promise<Answer | undefined> {
  const request = `exec 3<>/dev/tcp/127.0.0.1/${port} && printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
  const { exitCode, stdout } = await node.run(["bash", "-c", request]);
  if (exitCode !== 0) return undefined;
  const end = stdout.indexOf("\r\n\r\n");
  return { status: Number(stdout.split(" ")[1]), body: stdout.slice(end + 4) };
}

async function scrape(node: Node): Promise<Map<string, Metric>> {
  const answer = await get(node, "/metrics");
  if (answer?.status !== 200) throw new Error(`/metrics answers ${JSON.stringify(answer)}`);
  return parseExposition(answer.body);
}

/** A sample's value, by its whole line but the value. */
async function sampleOf(node: Node, sample: string): Promise<number | undefined> {
  const name = sample.replace(/\{.*/, "").replace(/_(bucket|sum|count)$/, "");
  const all = await scrape(node);
  return (all.get(name) ?? all.get(sample.replace(/\{.*/, "")))?.samples.get(sample);
}

function reaches(node: Node, sample: string, value: number): Promise<unknown> {
  const what = `${sample} ${value} on ${node.name}`;
  return waitUntil(async () => (await sampleOf(node, sample)) === value, { what, timeoutMs });
}

describeKernel("metrics of an agent", () => {
  setDefaultTimeout(2 * timeoutMs);
  const lab = withLab("metrics");
  let n1: Node;
  let n2: Node;
  let agent: Agent;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    await joinMesh([n1, n2]);
    for (const node of [n2, n1]) agent = await node.agent();
  }, 120_000);
  test("is ready and alive, and says so", async () => {
    expect(await get(n1, "/healthz")).toEqual({ status: 200, body: "ok\n" });
    expect(await get(n1, "/readyz")).toEqual({ status: 200, body: "ok\n" });
    expect(await get(n1, "/")).toMatchObject({ status: 404, body: expect.stringContaining("/metrics") });
  });

  test("a peer has the handshake and the bytes that wg shows", async () => {
    n1.exec(["ping", "-c1", "-W1", "-I", n1.options.ip4, "10.244.2.9"]);
    await reaches(n1, 'wg_cni_peers_by_state{state="encrypted"}', 1);
    const dev = (await scrape(n1)).get("wg_cni_peer_info")?.samples.keys().next().value;
    const slot = /slot="(\w)"/.exec(dev ?? "")?.[1];
    const [, handshake] = n1
      .must(["wg", "show", `wg-cni-${slot}`, "latest-handshakes"])
      .trim()
      .split("\t");
    const shown = await sampleOf(n1, 'wg_cni_peer_latest_handshake_seconds{peer="n2"}');
    expect(Math.floor(shown ?? 0)).toBe(Number(handshake));
    const bytes = await sampleOf(n1, `wg_cni_peer_received_bytes_total{peer="n2",slot="${slot}"}`);
    const [, received] = n1
      .must(["wg", "show", `wg-cni-${slot}`, "transfer"])
      .trim()
      .split("\t");
    expect(bytes).toBeGreaterThan(0);
    expect(Number(received)).toBeGreaterThanOrEqual(bytes ?? 0);
    expect(await sampleOf(n1, 'wg_cni_plaintext_packets_total{direction="out",peer="n2"}')).toBe(0);
  });

  test("what there is, is what there should be", async () => {
    const all = await scrape(n1);
    const [desired, programmed] = ["wg_cni_objects_desired", "wg_cni_objects_programmed"].map(
      (name) => new Map([...all.get(name)!.samples].map(([key, value]) => [key.replace(name, ""), value])),
    );
    expect(desired?.get('{kind="peers"}')).toBe(2);
    expect(programmed).toEqual(desired!);
    const generation = (kind: string) => [...all.get(`wg_cni_generation_${kind}`)!.samples.values()][0];
    expect(generation("programmed")).toBe(generation("desired"));
  });

  test("a route that another process deletes is one correction", async () => {
    const sample = 'wg_cni_drift_corrections_total{step="replaceRoute"}';
    const before = (await sampleOf(n1, sample)) ?? 0;
    n1.must(["ip", "route", "delete", "10.244.2.0/24", "table", "18099"]);
    await reaches(n1, sample, before + 1);
    expect(n1.must(["ip", "route", "show", "table", "18099"])).toContain("10.244.2.0/24 dev wg-cni-");
  });

  test("counts the plugin's calls by verb and result", async () => {
    const pod = n1.pod("counted");
    const result = await n1.runtime.add(list, pod);
    await n1.runtime.check(list, pod);
    await n1.runtime.del(list, pod);
    const failed = await n1.runtime.plugin("CHECK", "wg-cni", pluginConf(list, plugin, {}, result), pod);
    const { code } = JSON.parse(failed.stdout) as { code: number };
    const count = (labels: string) => sampleOf(n1, `wg_cni_verb_duration_seconds_count{${labels}}`);
    for (const verb of ["ADD", "CHECK", "DEL"])
      expect(await count(`verb="${verb}",result="ok"`), verb).toBe(1);
    expect(await count('verb="CHECK",result="error"')).toBe(1);
    expect(await sampleOf(n1, `wg_cni_verb_failures_total{verb="CHECK",code="${code}"}`)).toBe(1);
  });

  test("another address is served as soon as it is set; off means none", async () => {
    await wgMust(n1, ["up", "--metrics-address", "127.0.0.1:9999"]);
    const served = (port: number) => async () => (await get(n1, "/healthz", port))?.status === 200;
    await waitUntil(served(9999), { what: "the new address answers", timeoutMs });
    const closed = (port: number) => async () => (await get(n1, "/healthz", port)) === undefined;
    await waitUntil(closed(9586), { what: "the default address does not answer", timeoutMs });
    await wgMust(n1, ["up", "--metrics-address", "off"]);
    await waitUntil(closed(9999), { what: "nothing is served", timeoutMs });
    await wgMust(n1, ["up", "--metrics-address", "default"]);
    await waitUntil(served(9586), { what: "the default address answers", timeoutMs });
  });

  test("an address that is taken does not stop the agent: it says so, and serves when it is free", async () => {
    const other = await n1.serveHttp("somebody else's");
    const from = agent.lines().length;
    await wgMust(n1, ["up", "--metrics-address", "127.0.0.1:8080"]);
    const line = await agent.waitFor("Cannot serve metrics and health", timeoutMs, from);
    expect(line.message).toContain("127.0.0.1:8080: another program listens there (EADDRINUSE)");
    await other.stop();
    await agent.waitFor("metrics and health are served", timeoutMs, from);
    expect(await get(n1, "/readyz", 8080)).toEqual({ status: 200, body: "ok\n" });
  }, 200_000);
});
