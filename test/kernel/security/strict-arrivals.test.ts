// Plaintext that claims a source of the cluster: from the nodes' network, from another one,
// from a pod. In strict mode none of it gets beyond this node's rules, whatever the kernel's
// reverse-path filter is; only what hosts say to each other does, and what is the world's.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { withLab } from "../../lab/with-lab.ts";
import { type Arrivals, arrivals, isOutgoing, origins } from "../support/arrivals.ts";
import { describeKernel } from "../support/gate.ts";
import { setReversePath } from "../support/hosts.ts";
import { wgMust } from "../support/mesh-reference.ts";

describeKernel("forged sources in strict mode", () => {
  setDefaultTimeout(60_000);
  const lab = withLab("arrivals");
  let all: Arrivals;

  beforeAll(async () => {
    all = await arrivals(lab);
  });

  test("the control: in permissive mode without the filter they pass, but for what the kernel refuses itself", async () => {
    const { n1, knock, names } = all;
    setReversePath(n1, 0);
    // IPv4 takes nothing from itself.
    const wanted = names.filter((name) => !name.startsWith("IPv4 node itself"));
    for (const origin of origins) expect([origin, knock(origin)]).toEqual([origin, wanted]);
  });

  for (const filter of [0, 1, 2])
    test(`rp_filter ${filter}: none passes, from wherever`, async () => {
      const { n1, knock, names } = all;
      setReversePath(n1, filter);
      await wgMust(n1, ["up", "--mode", "strict"]);
      for (const origin of origins) {
        const wanted = (name: string) =>
          // From elsewhere than the default route the kernel's own filter refuses what is the world's.
          name.includes("the world")
            ? (filter !== 1 || origin === "eth0" || name.startsWith("IPv6")) && !isOutgoing(name)
            : name.endsWith("peer -> node") && origin === "eth0";
        // Packets from the nodes' network that would leave again by the tunnel are dropped on their way out.
        const reached = knock(origin).filter((name) => origin !== "eth0" || !isOutgoing(name));
        expect([origin, reached]).toEqual([origin, names.filter(wanted)]);
      }
    });
});
