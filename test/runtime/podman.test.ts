// Containers of podman, whose networks are CNI's: in one that podman made and that
// `wg-cni install` has us behind, and in one where we are the main plugin.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { Running } from "../lab/namespaces.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { Context } from "./support/context.ts";
import { confDir, type Enclosure } from "./support/enclosure.ts";
import { describeRuntime } from "./support/gate.ts";
import { gate, holdAdd, installGate } from "./support/gate-plugin.ts";
import { ours, standalone, writeNetwork } from "./support/networks.ts";
import { type Container, Podman } from "./support/podman.ts";
import { traces, transferred } from "./support/reference.ts";

interface Host {
  readonly podman: Podman;
  readonly network: string;
}

describeRuntime("podman", "containers of podman on two nodes", () => {
  const lab = withLab("podman", { hasControlGroup: true });
  let context: Context;
  const hosts: Record<string, Host> = {};
  const host = (name: string) => hosts[name] as Host;

  beforeAll(async () => {
    context = await Context.create(lab, { nodes: 2 });
    const [first, second] = context.enclosures as [Enclosure, Enclosure];
    hosts["chained"] = { podman: await Podman.create(first, context.archive), network: "pods" };
    hosts["standalone"] = { podman: await Podman.create(second, context.archive), network: "pods" };
  });

  test("podman knows its networks with us in them", async () => {
    const { podman } = host("chained");
    await podman.call("network", "create", "--subnet", "10.244.1.0/24", "pods");
    expect(await podman.enclosure.node.wg(["install"])).toMatchObject({ exitCode: 0 });
    const list = JSON.parse(
      readFileSync(podman.enclosure.node.outsidePath(`${confDir}/pods.conflist`), "utf8"),
    );
    const types = list.plugins.map(({ type }: { type: string }) => type);
    expect(types).toEqual(["bridge", "portmap", "firewall", "tuning", "wg-cni"]);
    writeNetwork(host("standalone").podman.enclosure, withCapabilities(standalone()));
    for (const { podman, network } of Object.values(hosts))
      expect(await podman.call("network", "ls", "--format", "{{.Name}}")).toContain(network);
  });

  test("containers on different nodes reach each other, and nothing of it can be read on the wire", async () => {
    const [[a, inA], [b, inB]] = (await Promise.all(
      Object.values(hosts).map(async ({ podman, network }) => [podman, await podman.run(network)] as const),
    )) as [[Podman, Container], [Podman, Container]];
    const capture = await lab.capture();
    for (const [podman, from, to] of [
      [a, inA, inB],
      [b, inB, inA],
    ] as const)
      expect(await podman.exec(from, "ping", "-c", "2", "-i", "0.2", "-W", "5", to.ip)).toContain(
        " 0% packet loss",
      );
    const { packets } = await capture.tally();
    expect(packets).toMatchObject({ plaintext: 0, host: 0, other: 0 });
    expect(packets.wireguard).toBeGreaterThanOrEqual(8);
    for (const node of lab.nodes) expect(transferred(node)).toBeGreaterThan(8 * 84);
    await capture.stop();
    await Promise.all([a.remove(inA), b.remove(inB)]);
  });

  describe.each(["chained", "standalone"])("%s", (name) => {
    /** The bridge stays for the next container. */
    const left = () => {
      const { network, ...rest } = traces(host(name).podman.enclosure);
      return { ...rest, network: network.filter((line) => !line.includes("cni-podman")) };
    };

    test("a container has the addresses that were asked for, and leaves nothing", async () => {
      const { podman, network } = host(name);
      const ip = `${podman.enclosure.node.podCidrs[0]?.replace("0/24", "77")}`;
      const mac = "02:00:00:00:00:77";
      const before = left();
      const container = await podman.run(network, ["--ip", ip, "--mac-address", mac]);
      expect(container).toMatchObject({ ip, mac });
      const shown = await podman.exec(container, "ip", "address", "show", "dev", "eth0");
      expect(shown).toContain(` ${ip}/`);
      expect(shown).toContain(` ${mac} `);
      expect(left().throwRoutes).toEqual([...before.throwRoutes, ip].sort());
      await podman.remove(container);
      expect(left()).toEqual(before);
    });

    test("conmon was killed: removing the container releases all it had", async () => {
      const { podman, network } = host(name);
      const before = left();
      const container = await podman.run(network);
      podman.enclosure.node.must(["kill", "-s", "KILL", `${container.conmonPid}`]);
      const gone = () => podman.enclosure.node.exec(["kill", "-0", `${container.conmonPid}`]).exitCode !== 0;
      await waitUntil(gone, { what: "conmon has ended" });
      await podman.remove(container);
      expect(left()).toEqual(before);
    });
  });

  // podman writes a network down after its ADD, and libcni its cache: neither ever removes this one.
  test("podman was killed while ADD ran: GC with the containers that it has releases what it forgot", async () => {
    const { podman, network } = host("standalone");
    const { enclosure } = podman;
    installGate(enclosure);
    const list = { ...standalone({}, [gate]), name: "held" };
    enclosure.write(`${confDir}/20-held.conflist`, JSON.stringify(list));
    const before = traces(enclosure);
    const kept = await podman.run(network);
    let running: Running | undefined;
    const held = await holdAdd(enclosure, () => {
      running = enclosure.start(podman.runCommand("held"));
      return running.finished;
    });
    expect(traces(enclosure).attachments).toHaveLength(2);
    running?.signal("SIGKILL");
    held.openGate();
    await held.outcome;
    for (const of of [list, standalone()]) {
      const conf = { ...ours, "cni.dev/valid-attachments": [{ containerID: kept.id, ifname: "eth0" }] };
      await enclosure.node.runtime.must("GC", { ...of, cniVersion: "1.1.0" }, conf, undefined);
    }
    expect(traces(enclosure).attachments.map(({ container_id }) => container_id)).toEqual([kept.id]);
    expect(await podman.exec(kept, "ping", "-c", "1", "-W", "5", "10.244.1.1")).toContain(" 0% packet loss");
    await podman.remove(kept);
    expect({ ...traces(enclosure), namespaces: [] }).toEqual({ ...before, namespaces: [] });
  });
});

/** The values that podman passes as runtimeConfig, and not only as CNI_ARGS. */
function withCapabilities(list: ReturnType<typeof standalone>): ReturnType<typeof standalone> {
  const plugins = list.plugins.map((plugin) => ({ ...plugin, capabilities: { ips: true, mac: true } }));
  return { ...list, plugins };
}
