// The modes with real packets: off tries whether it could encrypt and leaves all
// traffic alone; every step up and down loses nothing on any of seven paths. Strict
// reverse-path filtering on every uplink, both families.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { pathStreams } from "../../lab/path-matrix.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { losses } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
/** Long enough for hundreds of requests on each path. */
const phaseMs = 2000;
/** A handshake takes milliseconds, its reading a second, a first try that was lost five. */
const soonMs = 60_000;

interface Shown {
  readonly pending: readonly string[];
  readonly peers: readonly { name: string; state: string; reach: string; lastHandshakeMs: number }[];
}

describeKernel("modes", () => {
  setDefaultTimeout(400_000);
  const lab = withLab("modes");
  const nodes: Node[] = [];
  const pods: Pod[] = [];

  beforeAll(async () => {
    for (const index of [1, 2]) nodes.push(await addNode(lab, index));
    for (const node of nodes) node.strictReversePath();
    await joinByRecords(nodes, {
      upOptions: ["--mode", "off", "--cluster-cidrs", "10.244.0.0/16,fd00:10:244::/48"],
    });
    for (const [at, list] of ["10-ptp", "10-bridge"].entries()) {
      const node = nodes[at] as Node;
      pods.push(node.pod(`p${at + 1}`));
      await node.runtime.add(readConfList(`${repository}/conf/${list}.conflist`), pods[at] as Pod);
    }
  });
  /** `status` is 3 if something is still to be programmed. */
  const shown = async (node: Node) => JSON.parse((await node.wg(["status", "--json"])).stdout) as Shown;
  const reached = (state: RegExp, reach: string) =>
    Promise.all(
      nodes.map(async (node) => {
        let last: Shown | undefined;
        const isThere = async () => {
          last = await shown(node);
          return (
            last.pending.length === 0 &&
            last.peers.every((one) => state.test(one.state) && one.reach === reach)
          );
        };
        const what = () => `${node.name} being ${state}, ${reach}: ${JSON.stringify(last)}`;
        await waitUntil(isThere, { what, timeoutMs: soonMs });
      }),
    );
  const setMode = (mode: string) => Promise.all(nodes.map((node) => wgMust(node, ["up", "--mode", mode])));
  const podRoute = (node: Node, other: Node) =>
    node.must(["ip", "route", "show", "table", "18099", "exact", other.podCidrs[0] as string]).trim();
  const plaintextDuring = async (ms: number) => {
    const capture = await lab.capture();
    await Bun.sleep(ms);
    const { packets } = await capture.tally();
    await capture.stop();
    return packets;
  };

  test("off: they perform a handshake, and no route leads into the tunnel", async () => {
    await reached(/^ready$/, "plaintext");
    const [n1, n2] = nodes as [Node, Node];
    for (const [node, other] of [
      [n1, n2],
      [n2, n1],
    ] as const) {
      expect(podRoute(node, other)).toStartWith("throw");
      const times = node.must(["wg", "show", "all", "latest-handshakes"]).trim().split("\n");
      expect(times.some((line) => Number(line.split("\t")[2]) > 0)).toBe(true);
      // Once proved, nobody is kept awake.
      const isAwake = () => /\d$/m.test(node.must(["wg", "show", "all", "persistent-keepalive"]));
      await waitUntil(() => !isAwake(), { what: `${node.name} initiates no more` });
    }
  });

  test("off, permissive, strict and all the way back: no packet is lost, and none is in plaintext where it should not be", async () => {
    const streams = await Promise.all(
      families.map((family) => pathStreams(pods[0] as Pod, pods[1] as Pod, family)),
    );
    expect((await plaintextDuring(phaseMs)).plaintext).toBeGreaterThan(0);
    await setMode("permissive");
    await reached(/^encrypted$/, "tunnel");
    expect((await plaintextDuring(phaseMs)).plaintext).toBe(0);
    await setMode("strict");
    await reached(/^encrypted$/, "tunnel");
    expect((await plaintextDuring(phaseMs)).plaintext).toBe(0);
    await setMode("permissive");
    await reached(/^encrypted$/, "tunnel");
    expect((await plaintextDuring(phaseMs)).plaintext).toBe(0);
    await setMode("off");
    await reached(/^ready$/, "plaintext");
    // Of the sessions' own accord a keepalive may follow, and a handshake; then nothing.
    const isQuiet = async () => {
      const { plaintext, wireguard } = await plaintextDuring(phaseMs);
      expect(plaintext).toBeGreaterThan(0);
      return wireguard === 0;
    };
    await waitUntil(isQuiet, { what: "nothing but packets in plaintext", timeoutMs: soonMs });
    await setMode("permissive");
    await reached(/^encrypted$/, "tunnel");
    expect((await plaintextDuring(phaseMs)).plaintext).toBe(0);
    const results = (await Promise.all(streams.map((one) => one.stop()))).flat();
    expect(losses(results)).toEqual({});
  });

  test("off without an agent encrypts to no peer", async () => {
    const lone = await addNode(lab, 3);
    await wgMust(lone, ["up", ...lone.upArguments, "--mode", "off"]);
    const n1 = nodes[0] as Node;
    const record = (await wgMust(n1, ["node", "show", "--json"])).stdout;
    await wgMust(lone, ["peer", "import", "-"], { stdin: record });
    expect(podRoute(lone, n1)).toStartWith("throw");
    await wgMust(lone, ["up", "--mode", "permissive"]);
    expect(podRoute(lone, n1)).toContain("dev wg-cni-a");
  });
});
