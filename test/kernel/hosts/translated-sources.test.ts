// Rules of a host that translate the source of what its pods send to other nodes. Peers refuse a source that is
// no node IP and no pod of this node, so it is reported, by source and peer: in each mode, also before anything
// is lost. A source that peers take is not.
//
//   p1 ─ n1: the rule under test ══ the tunnel ══ n2 ─ p2
//             └── the wire: a client and a server outside of the mesh
import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { http, serveHttp } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";
import { backendPort, nodePorts, translate } from "../support/translation.ts";

const timeoutMs = 60_000;

interface Report {
  readonly refusedSources: readonly { readonly source: string; readonly packets: number }[];
  readonly peers: readonly { readonly name: string; readonly state: string; readonly loss?: string }[];
}

describeKernel("translated sources", () => {
  const lab = withLab("translated-sources");
  let nodes: [Node, Node];
  let pods: [Pod, Pod];
  let agent: Agent;

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2)];
    ({
      agents: [agent],
    } = (await joinByRecords(nodes)) as unknown as { agents: [Agent] });
    pods = (await addPods(nodes)) as [Pod, Pod];
    await Promise.all([pods[1], lab.wire].map((space) => serveHttp(space, "answer", [backendPort])));
    await awaitTunnels(nodes);
  }, 90_000);

  const rule = (family: 4 | 6, what: string) => {
    const ip = family === 4 ? "ip" : "ip6";
    nodes[0].script([
      `nft add table ${ip} theirs`,
      `nft 'add chain ${ip} theirs post { type nat hook postrouting priority srcnat; }'`,
      `nft 'add rule ${ip} theirs post ${what}'`,
    ]);
  };
  /** Takes the rules back, and what they were counted for. */
  afterEach(() => {
    nodes[0].script([
      "for t in 'ip theirs' 'ip6 theirs' 'ip proxy' 'ip6 proxy'; do nft delete table $t 2>/dev/null || true; done",
      "iptables-nft -t nat -F POSTROUTING 2>/dev/null || true",
      ...[4, 6].flatMap((family) =>
        ["sources", "destinations"].map((set) => `nft flush set inet wg-cni refused_${set}${family}`),
      ),
    ]);
  });
  const setMode = async (mode: string) => {
    await wgMust(nodes[0], ["up", ...nodes[0].upArguments, "--mode", mode]);
    await waitUntil(async () => (await nodes[0].wg(["status"])).exitCode === 0, {
      what: `node 1 is as mode ${mode} wants it`,
    });
  };
  const answers = async (family: 4 | 6) =>
    (await http(pods[0], pods[1].ip(family) as string, 1, backendPort, "/")).ok;
  const report = async () => {
    const { stdout, exitCode } = await nodes[0].wg(["status", "--json"]);
    const { refusedSources, peers } = JSON.parse(stdout) as Report;
    const states = peers.map(({ name, state, loss }) => [name, state, loss !== undefined]);
    return { sources: refusedSources.map(({ source }) => source), states, exitCode };
  };
  const lossOf = (source: string) => ({
    ...{ sources: [source], states: [["n2", "drift", true]], exitCode: 3 },
  });
  const none = { sources: [], states: [["n2", "encrypted", false]], exitCode: 0 };

  const foreign = {
    4: ["198.51.100.9", "ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/16 snat to 198.51.100.9"],
    6: ["2001:db8:99::9", "ip6 saddr fd00:10:244::/48 ip6 daddr fd00:10:244::/48 snat to 2001:db8:99::9"],
  } as const;

  for (const mode of ["permissive", "strict"])
    for (const family of [4, 6] as const)
      test(
        `${mode}: an IPv${family} source that no peer takes is lost, and named with the peer`,
        async () => {
          await setMode(mode);
          const [source, what] = foreign[family];
          rule(family, what);
          expect([await answers(family), await report()]).toEqual([false, lossOf(source)]);
          const checked = await nodes[0].wg(["doctor", "--json"]);
          const { findings } = JSON.parse(checked.stdout) as { findings: { check: string; level: string }[] };
          const finding = findings.find(({ check }) => check === "translated sources");
          expect([checked.exitCode === 0, finding?.level]).toEqual([false, "fail"]);
          const isTold = () =>
            agent.lines().some((line) => line.level === "warn" && line["source"] === source);
          await waitUntil(isTold, { what: "the agent's line about the source" });
        },
        timeoutMs,
      );

  describe("permissive", () => {
    beforeAll(() => setMode("permissive"), timeoutMs);

    test("a rule of iptables is seen as one of nft", async () => {
      nodes[0].script([
        "iptables-nft -t nat -A POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -j SNAT --to-source 198.51.100.8",
      ]);
      expect([await answers(4), await report()]).toEqual([false, lossOf("198.51.100.8")]);
    });

    test("a stateless rule behind the translation of sources is seen, too", async () => {
      nodes[0].script([
        "nft add table ip theirs",
        "nft 'add chain ip theirs post { type filter hook postrouting priority 300; }'",
        "nft 'add rule ip theirs post ip daddr 10.244.2.0/24 ip saddr set 198.51.100.7'",
      ]);
      expect([await answers(4), await report()]).toEqual([false, lossOf("198.51.100.7")]);
    });

    test.each([
      ["a masquerade of all that leaves", "masquerade", "masquerade"],
      ["a translation to the node IP", "snat to 192.0.2.1", "snat to 2001:db8::1"],
      [
        "a translation outside of the mesh",
        "ip daddr 192.0.2.254 snat to 192.0.2.77",
        "ip6 daddr 2001:db8::fe snat to 2001:db8::77",
      ],
    ])("%s is harmless, and not reported", async (_, ipv4, ipv6) => {
      rule(4, ipv4);
      rule(6, ipv6);
      await http(pods[0], "192.0.2.254", 1, backendPort, "/");
      expect([await answers(4), await answers(6), await report()]).toEqual([true, true, none]);
    });

    test("a client outside of the mesh that a port of this node leads to a peer's pod is not reported", async () => {
      translate(nodes[0], { pod: pods[0], remote: { node: nodes[1], pod: pods[1] } });
      const { ok } = await http(lab.wire, "192.0.2.1", 2, nodePorts["remote pod"], "/");
      expect([ok, await report()]).toEqual([true, none]);
    });
  });

  test(
    "off: what the next mode would lose is named, and nothing is called lost",
    async () => {
      await setMode("off");
      const [source, what] = foreign[4];
      rule(4, what);
      await answers(4);
      expect(await report()).toEqual({
        ...{ sources: [source], states: [["n2", "ready", false]], exitCode: 0 },
      });
    },
    timeoutMs,
  );

  test(
    "off: a masquerade and a translation outside of the mesh are not named",
    async () => {
      await setMode("off");
      rule(4, "masquerade");
      rule(6, "ip6 daddr 2001:db8::fe snat to 2001:db8::77");
      expect([await answers(4), await answers(6)]).toEqual([true, true]);
      expect((await report()).sources).toEqual([]);
    },
    timeoutMs,
  );
});
