// A forged packet must not count as a peer's plaintext, and hold `rollout strict` back. A packet with a
// peer's source counts only if it came by the interface that leads to the peer: from a
// pod, or from another network, it is counted as spoofed, by interface. In permissive mode
// and in strict mode, with and without the kernel's reverse-path filter.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { withLab } from "../../lab/with-lab.ts";
import { type Arrivals, arrivals, type Origin, origins } from "../support/arrivals.ts";
import { describeKernel } from "../support/gate.ts";
import { setReversePath } from "../support/hosts.ts";
import { wgJson, wgMust } from "../support/mesh-reference.ts";

interface Status {
  readonly plaintextArrivals: readonly { readonly interface: string }[];
}

describeKernel("counters of plaintext", () => {
  setDefaultTimeout(60_000);
  const lab = withLab("counters");
  let all: Arrivals;

  beforeAll(async () => {
    all = await arrivals(lab);
  });

  /** Returns the increase of each counter by one round of packets. */
  const added = (origin: Origin) => {
    const before = all.counted();
    all.knock(origin);
    return Object.fromEntries(
      Object.entries(all.counted()).flatMap(([name, packets]) => {
        const more = packets - (before[name] ?? 0);
        return more === 0 ? [] : [[name, more]];
      }),
    );
  };
  /** Three pods' packets of each family; the peer's own to pods, in strict mode those to other hosts, too. */
  const peers = (toPods: number) => ({
    ...{ "pods4_in 10.244.2.0/24": 3, "pods6_in fd00:10:244:2::/64": 3 },
    ...{ "hosts4_in 192.0.2.2": toPods, "hosts6_in 2001:db8::2": toPods },
    "arrived eth0": 2 * (3 + toPods),
  });

  for (const filter of [0, 1, 2])
    test(`permissive, rp_filter ${filter}: only the interface that leads to the peer can count as the peer's`, async () => {
      const { n1, evilDev } = all;
      setReversePath(n1, filter);
      await wgMust(n1, ["up", "--mode", "permissive"]);
      const dev = { eth0: "eth0", eth1: "eth1", pod: evilDev };
      const found = origins.map((origin) => [origin, added(origin)]);
      expect(found).toEqual([
        ["eth0", { ...peers(2), "transit4 192.0.2.2": 4, "transit6 2001:db8::2": 4 }],
        ["eth1", { [`spoofed ${dev.eth1}`]: 10 }],
        ["pod", { [`spoofed ${dev.pod}`]: 10 }],
      ]);
    });

  test("permissive, with each pod announced: a pod that makes up sources takes nothing outside the tunnel", async () => {
    const { n1, evilDev } = all;
    setReversePath(n1, 0);
    await wgMust(n1, ["up", "--mode", "permissive", "--pod-addresses", "pods"]);
    const found = added("pod");
    await wgMust(n1, ["up", "--pod-addresses", "node"]);
    expect(found).toEqual({ [`spoofed ${evilDev}`]: 16 });
  });

  test("strict: what is dropped is counted, by interface, and no peer's but by the right one", async () => {
    const { n1, evilDev } = all;
    setReversePath(n1, 0);
    await wgMust(n1, ["up", "--mode", "strict"]);
    const found = origins.map((origin) => [origin, added(origin)]);
    const { plaintextArrivals } = await wgJson<Status>(n1, ["status"]);
    expect(plaintextArrivals.map(({ interface: name }) => name)).toEqual(["eth0", "eth1", evilDev].sort());
    expect(found).toEqual([
      // Spoofed: local pods and the node itself. Unknown sources: cluster addresses that nobody has announced,
      // and what others would send to peers through this node's tunnel.
      ["eth0", { ...peers(4), "spoofed eth0": 8, "unknown_sources eth0": 10 }],
      ["eth1", { "spoofed eth1": 30, "unknown_sources eth1": 4 }],
      ["pod", { [`spoofed ${evilDev}`]: 30, [`unknown_sources ${evilDev}`]: 4 }],
    ]);
  });
});
