// A cluster comes up: nodes are ready, the scheduler places pods on all of them, every
// path that Kubernetes promises is there without the product, and the capture that the
// other tests believe sees them. Nothing of it stays behind, also when it is killed.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { hierarchiesOfVersion1, mountGroups } from "../lab/control-groups.ts";
import { repository } from "../lab/paths.ts";
import { ping } from "../lab/traffic.ts";
import { waitUntil } from "../lab/wait.ts";
import { SmallCluster, soonMs } from "./support/cluster.ts";
import { describeCluster } from "./support/gate.ts";
import { allPaths } from "./support/paths.ts";
import { podsPath, webPod } from "./support/pods.ts";
import { kubectl } from "./support/product.ts";
import { addSite, podNames, type Site } from "./support/services.ts";
import { faults, tryPaths } from "./support/tries.ts";

for (const mode of ["iptables", "nftables"] as const)
  describeCluster(`a small cluster whose proxies use ${mode}`, () => {
    setDefaultTimeout(180_000);
    let cluster: SmallCluster;
    let sites: Site[];

    beforeAll(async () => {
      cluster = await SmallCluster.create(mode, [1, 2, 0]);
      sites = await Promise.all(cluster.machines.map((machine) => addSite(cluster, machine)));
    });
    afterAll(() => cluster?.[Symbol.dispose]());

    test("the scheduler places pods on all nodes", async () => {
      const names = ["free-1", "free-2", "free-3", "free-4", "free-5", "free-6"];
      const { admin } = cluster.server;
      await Promise.all(names.map((name) => admin.create(podsPath, webPod(name))));
      const placed = async () => {
        const pods = await Promise.all(names.map((name) => admin.get(`${podsPath}/${name}`)));
        return pods.every((pod) => pod["status"].phase === "Running") && pods;
      };
      const pods = await waitUntil(placed, { what: "all pods run", timeoutMs: soonMs, everyMs: 200 });
      const nodes = new Set((pods || []).map(({ spec }) => spec.nodeName));
      expect([...nodes].toSorted()).toEqual(["n1", "n2", "n3"]);
      for (const name of names) await admin.remove(`${podsPath}/${name}`);
    });

    test("pods reach each other, with their own addresses", async () => {
      for (const { pod } of sites)
        for (const other of sites) expect(await ping(pod, other.pod.ip(4))).toMatchObject({ received: 3 });
    });

    test("every path answers, and can be read on the wire", async () => {
      const capture = await cluster.lab.capture("tcp or udp");
      const tried = await tryPaths(allPaths(sites, cluster.lab.wire), cluster.machines, capture);
      await capture.stop();
      expect(faults(tried, false)).toEqual({});
      const unread = tried.filter(({ read }) => read.length === 0).map(({ path }) => path.name);
      // Traffic from outside that stays on the node is between no nodes.
      expect(unread.filter((name) => !name.includes("outside"))).toEqual([]);
    });

    test("kubectl exec and logs reach every pod", async () => {
      for (const { machine } of sites)
        for (const name of Object.values(podNames(machine.name))) {
          expect(await kubectl(cluster, ["exec", name, "--", "cat", "/proc/1/comm"])).toMatchObject({
            stdout: "busybox\n",
          });
          expect((await kubectl(cluster, ["logs", name])).stdout).toContain("serving");
        }
    });
  });

describeCluster("a small cluster that is killed", () => {
  test("takes along what it made on the machine", async () => {
    const script = `
      import { SmallCluster } from "${repository}/test/small-cluster/support/cluster.ts";
      const { lab } = await SmallCluster.create("iptables", [1]);
      console.log(lab.sharedDirectory, lab.controlGroup);
      await Bun.sleep(600_000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    const { value } = await child.stdout.getReader().read();
    const [directory = "", group = ""] = new TextDecoder().decode(value).trim().split(" ");
    const left = () => [...leftGroups(group), ...(existsSync(directory) ? [directory] : [])];
    expect(left().length).toBeGreaterThan(1);
    child.kill("SIGKILL");
    await waitUntil(() => left().length === 0, { what: () => `the end of ${left()}`, everyMs: 500 });
  });
});

/** The hierarchies that still have it. */
function leftGroups(group: string): string[] {
  return [undefined, ...hierarchiesOfVersion1()]
    .filter((hierarchy) => {
      const script = `${mountGroups("/run", hierarchy)}; [ -e /run/${group} ]`;
      return Bun.spawnSync(["unshare", "--mount", "sh", "-euc", script]).exitCode === 0;
    })
    .map((hierarchy) => hierarchy ?? "version 2");
}
