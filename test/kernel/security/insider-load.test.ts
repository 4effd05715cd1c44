// Insiders can make some things large: routes and addresses of a pod that may change its own namespace, and
// connections to the agent's port. The agent goes on repairing, and calls of the plugin come to an end.
import { beforeAll, expect, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { type SyncJson, wgJson, wgMust } from "../support/mesh-reference.ts";
import { succeed } from "../support/plugin.ts";

const conf = { type: "wg-cni", name: "pods", cniVersion: "1.0.0" };
const ips = [
  { address: "10.9.0.5/24", gateway: "10.9.0.1" },
  { address: "fd00:9::5/64", gateway: "fd00:9::1" },
];
const routes = 12_000;
/** As many of a pod's routes get the tunnel's MTU. */
const mostRoutes = 64;
const port = 9586;
const page = `http://192.0.2.1:${port}/metrics`;

describeKernel("load by insiders", () => {
  const lab = withLab("load");
  let node: Node;
  let other: Node;
  let agent: Agent;
  beforeAll(async () => {
    const nodes = await Promise.all(
      [1, 2].map((i) =>
        lab.node(`n${i}`, { ip4: `192.0.2.${i}`, ip6: `2001:db8::${i}`, podCidrs: [`10.244.${i}.0/24`] }),
      ),
    );
    node = nodes[0] as Node;
    await joinMesh(nodes);
    other = nodes[1] as Node;
    await wgMust(node, ["up", ...node.upArguments, "--metrics-address", `192.0.2.1:${port}`]);
    agent = await node.agent();
  });

  /** Somebody takes a rule of ours away, and it is there again. */
  async function expectRepair(): Promise<void> {
    const rules = () => node.must(["ip", "rule"]);
    const before = rules();
    node.must(["ip", "rule", "delete", "priority", "98"]);
    await waitUntil(() => rules() === before, { what: () => `the rule: ${rules()}` });
  }

  /** As a process of the pod with NET_ADMIN does. */
  function fill(pod: Pod): void {
    const lines = Array.from({ length: routes }, (_, i) => {
      const [high, low] = [i >> 8, i & 255];
      const address = i < routes / 3 ? [`address add 10.7.${high}.${low}/32 dev eth0`] : [];
      return [
        `route add 172.16.${high}.${low}/32 via 10.9.0.1 dev eth0`,
        `-6 route add fd00:7::${high.toString(16)}:${low.toString(16)}/128 via fd00:9::1 dev eth0`,
        ...address,
      ];
    });
    for (const family of ["-4", "-6"]) {
      const stdin = lines
        .flat()
        .filter((line) => line.startsWith("-6") === (family === "-6"))
        .map((line) => line.replace("-6 ", ""))
        .join("\n");
      pod.must(["ip", family, "-batch", "-"], { stdin });
    }
  }

  test("a pod's thousands of routes and addresses delay no repair, and only some get an MTU", async () => {
    const pod = node.pod("a");
    const prevResult = attachByHand(pod, "1.0.0", { hostDev: "veth-a", ips });
    await succeed(node, "ADD", { ...conf, prevResult }, pod);
    fill(pod);
    const { steps, failures } = await wgJson<SyncJson>(node, ["up", ...node.upArguments, "--mtu", "1300"]);
    expect(failures).toEqual([]);
    const ofPod = steps.filter((step) => step.includes("POD"));
    expect(ofPod.length).toBeLessThanOrEqual(mostRoutes);
    // Which of the two changes a route, this command or the agent that it has woken, is a matter of time.
    await waitUntil(() => pod.must(["ip", "route", "show", "default"]).includes("mtu 1300"), {
      what: "an MTU on the pod's default route",
    });
    await expectRepair();
    const { milliseconds } = await succeed(node, "DEL", { ...conf, prevResult }, pod);
    expect(milliseconds).toBeLessThan(10_000);
    expect(agent.lines().filter(({ level }) => level === "error")).toEqual([]);
  });

  test("thousands of connections to the metrics' port, held open and asking, delay no repair", async () => {
    const attack = other.start([process.execPath, "-e", flood], { timeoutMs: 0 });
    // The attack has come as far as it gets.
    await attack.saidOnStderr("flooding");
    for (let i = 0; i < 3; i++) await expectRepair();
    const descriptors = node
      .must(["ls", `/proc/${agentInside()}/fd`])
      .trim()
      .split("\n").length;
    expect(descriptors).toBeLessThan(250);
    // Probes have their own way, and whoever sits elsewhere gets the metrics between two floods.
    expect((await node.wg(["probe", "live"])).exitCode).toBe(0);
    await waitUntil(() => node.exec(["curl", "-sf", "-m", "5", page]).stdout.includes("wg_cni_ready 1"), {
      what: "the metrics",
    });
    attack.signal("SIGKILL");
    expect(agent.lines().filter(({ level }) => level === "error")).toEqual([]);
    const said = agent
      .lines()
      .filter(({ message }) => message.startsWith("connections to the metrics' port exceed"));
    expect(said.length).toBe(1);
  });

  /** The agent's number in the node's own namespace of processes. */
  function agentInside(): string {
    return node.must(["pgrep", "-f", "wg-cni agent"]).trim().split("\n").at(-1) as string;
  }
});

/** Opens connections without end: some ask again and again, the others are held open. */
const flood = `
  let opened = 0;
  const one = async (asks) => {
    try {
      await Bun.connect({ hostname: "192.0.2.1", port: ${port}, socket: {
        open: (socket) => { if (asks) socket.write("GET /metrics HTTP/1.1\\r\\n\\r\\n"); if (++opened === 300) console.error("flooding"); },
        data() {}, close() {}, error() {}, connectError() {},
      } });
    } catch { await Bun.sleep(1); }
  };
  const lane = async (asks) => { for (;;) await one(asks); };
  for (let i = 0; i < 100; i++) void lane(i % 2 === 0);
`;
