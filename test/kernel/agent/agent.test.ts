// The agent in a lab node: repairs by events, one a store, and a data plane that
// neither its end nor its return disturbs. Witnesses are ip, wg and counted packets.
import { beforeAll, expect, test } from "bun:test";
import type { Running } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import { losses, Streams } from "../../lab/stream.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";

/** A repair takes less than this, as the median of several: any single one may meet a busy moment of the machine. */
const repairMs = 1000;
const longestRepairMs = 10_000;

describeKernel("agent", () => {
  const lab = withLab("agent");
  let n1: Node;
  let n2: Node;
  let agent: Running;

  const start = async () => {
    const started = n1.start([binary, "agent"], { env: process.env as Record<string, string> });
    await started.saidOnStderr("mesh changed");
    return started;
  };
  const routes = () => n1.must(["ip", "route", "show", "table", "18099"]);

  beforeAll(async () => {
    n1 = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: ["10.244.1.0/24"] });
    n2 = await lab.node("n2", { ip4: "192.0.2.2", ip6: "2001:db8::2", podCidrs: ["10.244.2.0/24"] });
    const records: unknown[] = [];
    for (const node of [n1, n2]) {
      expect((await node.wg(["up", ...node.upArguments])).exitCode).toBe(0);
      records.push(JSON.parse((await node.wg(["node", "show", "--json"])).stdout));
    }
    for (const node of [n1, n2])
      expect((await node.wg(["peer", "import", "-"], { stdin: JSON.stringify(records) })).exitCode).toBe(0);
    n2.script([
      "ip link add pod0 type bridge",
      "ip address add 10.244.2.9/32 dev pod0",
      "ip link set pod0 up",
    ]);
  }, 60_000);
  test("repairs a route, a rule, an address and the nftables table within a second of their loss", async () => {
    n1.must(["ip", "route", "delete", "10.244.2.0/24", "table", "18099"]);
    agent = await start();
    const facts = () => [
      routes(),
      n1.script(["nft -s list table inet wg-cni || true"]),
      // At one priority the order of rules means nothing.
      ...["-4", "-6"].map((family) => n1.must(["ip", family, "rule"]).split("\n").sort()),
      n1.must(["ip", "-br", "address", "show", "dev", "wg-cni-a"]).replace(/fe80\S+/, ""),
    ];
    const before = facts();
    expect(before[0]).toContain("10.244.2.0/24 dev wg-cni-a");
    const times: number[] = [];
    for (const damage of [
      ["ip", "route", "flush", "table", "18099"],
      ["ip", "rule", "delete", "priority", "98"],
      ["ip", "-6", "rule", "delete", "priority", "99"],
      ["ip", "address", "delete", "192.0.2.1/32", "dev", "wg-cni-a"],
      ["ip", "route", "add", "10.99.0.0/16", "dev", "eth0", "table", "18099"],
      ["nft", "delete", "table", "inet", "wg-cni"],
      ["nft", "flush", "chain", "inet", "wg-cni", "prerouting"],
    ]) {
      n1.must(damage);
      // From here on the agent may be faster than we look.
      const start = performance.now();
      while (
        JSON.stringify(facts()) !== JSON.stringify(before) &&
        performance.now() - start < longestRepairMs
      )
        await Bun.sleep(20);
      times.push(performance.now() - start);
      expect(facts(), damage.join(" ")).toEqual(before);
    }
    const median = times.sort((x, y) => x - y)[Math.floor(times.length / 2)];
    expect(median).toBeLessThan(repairMs);
  }, 30_000);

  test("a second agent on the same store is refused with a reason", async () => {
    const second = await n1.run([binary, "agent"]);
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toContain("Another agent has the store");
  });

  test("stopping and starting it under a stream of requests loses none, and writes nothing", async () => {
    const flow = { name: "n1 -> n2", from: n1, to: n2, toIp: "10.244.2.9", echo: true };
    const streams = await Streams.start([flow], { rate: 200 });
    const monitor = n1.start(["ip", "monitor", "link", "address", "route", "rule"]);
    // Before and after, so that there are twice as many requests as are asked for however fast an agent starts.
    await Bun.sleep(500);
    const stopped = await agent.stop();
    expect(stopped.stderr).toContain("the mesh stays as it is");
    agent = n1.start([binary, "agent", "--log-level", "debug"]);
    await agent.saidOnStderr("reconciled");
    await Bun.sleep(500);
    const results = await streams.stop();
    expect(losses(results)).toEqual({});
    expect(results[0]?.sent).toBeGreaterThan(100);
    // Neighbour and cache lines aside, nothing of the mesh was touched.
    expect((await monitor.stop()).stdout).not.toMatch(/wg-cni|18099|18098|fwmark/);
  }, 30_000);

  test("follows the store: a peer that another process removes is gone, and one log line says so", async () => {
    expect((await n1.wg(["peer", "remove", "n2"])).exitCode).toBe(0);
    expect(routes()).not.toContain("10.244.2.0/24");
    const stopped = await agent.stop();
    expect(stopped.stderr.split("\n").filter((line) => line.includes(" error "))).toEqual([]);
  }, 20_000);
});
