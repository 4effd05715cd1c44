// The life of the product in a small cluster, from before it is installed until after
// it has gone: every path between pods, hosts, services and the outside answers at each
// station, counted streams lose nothing on the way, and what an eavesdropper can read
// between the nodes is nothing of a pod.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { recordPath } from "../../cluster/support/nodes.ts";
import type { Packet } from "../../lab/pcap.ts";
import type { Pod } from "../../lab/pod.ts";
import { eachWay, flow, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { SmallCluster, soonMs } from "./cluster.ts";
import { type ProxyMode, podNetwork } from "./config.ts";
import { describeCluster } from "./gate.ts";
import type { Machine } from "./machine.ts";
import { allPaths } from "./paths.ts";
import { kubectl, manifest, plugin, rolledOut, rollOut, startDevices } from "./product.ts";
import { addSite, podNames, type Site, servingSite } from "./services.ts";
import { faults, tryPaths } from "./tries.ts";

const testMs = 400_000;
const meshPath = "/apis/wg-cni.dev/v1alpha1/wireguardmeshes/default";
/** Reports come every 30 to 45 s, and are made at a look, of which there is one a minute at least. */
const reportMs = 180_000;
/** A drain takes ten seconds at least, two slots; nodes that meet wait for each other. */
const rotationMs = 240_000;

/** Packets a second of each flow: few enough for the tunnels of three nodes, which are processes, on a busy machine. */
const rate = 50;

/** n1 takes only what comes from where its source is reached, n2 what comes from somewhere, n3 everything. */
const reversePathFilters = [1, 2, 0] as const;

export function describeLife(mode: ProxyMode): void {
  describeCluster(`a small cluster whose proxies use ${mode}`, () => {
    setDefaultTimeout(testMs);
    let cluster: SmallCluster;
    let sites: Site[];
    let settings: string[];

    beforeAll(async () => {
      cluster = await SmallCluster.create(mode, reversePathFilters);
      sites = await Promise.all(cluster.machines.map((machine) => addSite(cluster, machine)));
      settings = sites.map(settingsOf);
    }, testMs);
    afterAll(() => cluster?.[Symbol.dispose]());

    /** The faults by path, and the number of readable packets. */
    async function tryAll(isEncrypted: boolean) {
      const capture = await cluster.lab.capture("tcp or udp");
      const tried = await tryPaths(allPaths(sites, cluster.lab.wire), cluster.machines, capture);
      await capture.stop();
      return { faults: faults(tried, isEncrypted), read: tried.filter(({ read }) => read.length > 0).length };
    }

    /** Between all pods each way, and from each host to the next node's pod. */
    function startStreams(among = sites): Promise<Streams> {
      const pairs = among.flatMap(({ pod }, at) =>
        among.slice(at + 1).map((other) => [pod, other.pod] as const),
      );
      const fromHosts = among.map(({ machine }, at) =>
        flow(machine.node, (among[(at + 1) % among.length] as Site).pod, 4),
      );
      return Streams.start([...eachWay(pairs as readonly (readonly [Pod, Pod])[], 4), ...fromHosts], {
        rate,
      });
    }

    const wg = (machine: Machine, ...words: string[]) => machine.host.run([plugin, ...words]);

    test("before: every path answers, and the capture reads them", async () => {
      const { faults, read } = await tryAll(false);
      expect(faults).toEqual({});
      expect(read).toBeGreaterThan(100);
    });

    test("kubectl exec and logs reach every pod", reachesPods);
    async function reachesPods(): Promise<void> {
      for (const { machine } of sites) {
        const { pod } = podNames(machine.name);
        expect(await kubectl(cluster, ["exec", pod, "--", "hostname"])).toMatchObject({ stdout: `${pod}\n` });
        expect((await kubectl(cluster, ["logs", pod])).stdout).toContain("serving");
      }
    }

    test("installed under streams it loses nothing, and every path answers, encrypted", async () => {
      const streams = await startStreams();
      await rollOut(cluster, manifest("wg-cni.yaml", ["--plaintext-window=5s"]));
      await allEncrypt();
      expect(losses(await streams.stop())).toEqual({});
      expect((await tryAll(true)).faults).toEqual({});
      await reachesPods();
    });

    async function allEncrypt(): Promise<void> {
      for (const { machine } of sites) {
        let peers: readonly { readonly name: string; readonly reach: string }[] = [];
        const look = async () => {
          startDevices(machine);
          const { stdout } = await wg(machine, "status", "--json");
          // Nothing is said by a node that has no identity yet.
          peers = stdout.startsWith("{") ? JSON.parse(stdout).peers : [];
          return peers.length === sites.length - 1 && peers.every(({ reach }) => reach === "tunnel");
        };
        await waitUntil(look, {
          what: () => `${machine.name} encrypts to all: ${JSON.stringify(peers)}`,
          ...{ timeoutMs: soonMs, everyMs: 200 },
        });
      }
    }

    test("a rotation of all nodes loses nothing", async () => {
      const keys = async ({ name }: Machine): Promise<string[]> => {
        const record = await cluster.server.admin.get(recordPath(name));
        const slots: readonly { publicKey: string; state: string }[] = record["spec"].slots;
        return slots.filter(({ state }) => state === "active").map(({ publicKey }) => publicKey);
      };
      const streams = await startStreams();
      const before = (await Promise.all(cluster.machines.map(keys))).flat();
      for (const machine of cluster.machines)
        expect(await wg(machine, "key", "rotate")).toMatchObject({ exitCode: 0 });
      const isDone = async () => {
        const now = (await Promise.all(cluster.machines.map(keys))).flat();
        return now.length === before.length && !now.some((key) => before.includes(key));
      };
      await waitUntil(isDone, { what: "all keys are others", timeoutMs: rotationMs, everyMs: 500 });
      expect(losses(await streams.stop())).toEqual({});
      expect((await tryAll(true)).faults).toEqual({});
    });

    test("in strict mode every path answers, encrypted", async () => {
      const streams = await startStreams();
      await step("permissive");
      await step("strict");
      await cluster.server.admin.patch(meshPath, { spec: { clusterCIDRs: [podNetwork] } });
      expect(losses(await streams.stop())).toEqual({});
      expect((await tryAll(true)).faults).toEqual({});
      await reachesPods();
    });

    test("of an address that no pod has the sender is told, and nothing is readable", async () => {
      const capture = await cluster.lab.capture("net 10.244.0.0/16");
      for (const { pod } of sites)
        for (const { machine } of sites) {
          const absent = machine.podCidr.replace("0/24", "250");
          const { stdout } = await pod.run(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "2", absent]);
          expect(stdout).toContain("Destination Host Unreachable");
        }
      expect((await capture.packets()).map(describePacket)).toEqual([]);
      await capture.stop();
    });

    /** By the command; resolves when all nodes report the mode. */
    async function step(mode: "off" | "permissive" | "strict"): Promise<void> {
      const config = `${cluster.lab.sharedDirectory}/rollout.kubeconfig`;
      cluster.writeKubeconfig(config);
      const [first] = cluster.machines as [Machine];
      let said = "";
      const taken = async () => {
        const done = await wg(first, "rollout", mode, "--kubeconfig", config);
        said = done.stdout + done.stderr;
        return done.exitCode === 0;
      };
      await waitUntil(taken, {
        what: () => `the step to ${mode}: ${said}`,
        timeoutMs: reportMs,
        everyMs: 1000,
      });
      const isIn = async () => {
        said = (await wg(first, "rollout", "--json", "--kubeconfig", config)).stdout;
        const shown = JSON.parse(said);
        return shown.mode === mode && shown.inMode === cluster.machines.length;
      };
      await waitUntil(isIn, { what: () => `all in ${mode}: ${said}`, timeoutMs: reportMs, everyMs: 1000 });
    }

    test("a node that is switched off and on again costs the other nodes nothing", async () => {
      const [n1, n2, n3] = sites as [Site, Site, Site];
      const streams = await startStreams([n1, n2]);
      const capture = await cluster.lab.capture("net 10.244.0.0/16");
      // Packets to it meanwhile reach no host, and no other host may read them.
      const pings = n1.pod.start(["ping", "-q", "-i", "0.05", n3.pod.ip(4)]);
      await n3.machine.powerOff();
      await n3.machine.boot();
      await cluster.ready(n3.machine);
      await rolledOut(cluster);
      sites[2] = await servingSite(cluster, n3.machine);
      await allEncrypt();
      await pings.stop("SIGINT");
      expect(losses(await streams.stop())).toEqual({});
      expect((await capture.packets()).map(describePacket)).toEqual([]);
      await capture.stop();
      expect((await tryAll(true)).faults).toEqual({});
    });

    test("a node that joins is reached as the other nodes are", async () => {
      const streams = await startStreams();
      const machine = await cluster.join(4, 1);
      await rolledOut(cluster);
      sites.push(await addSite(cluster, machine));
      await allEncrypt();
      expect(losses(await streams.stop())).toEqual({});
      const [n1, , , n4] = sites as [Site, Site, Site, Site];
      const capture = await cluster.lab.capture("tcp or udp");
      const tried = await tryPaths(allPaths([n1, n4], cluster.lab.wire), cluster.machines, capture);
      expect(faults(tried, true)).toEqual({});
      await capture.stop();
    });

    test("a node that leaves costs the other nodes nothing", async () => {
      const [n1, n2, n3, n4] = sites as [Site, Site, Site, Site];
      const streams = await startStreams([n1, n2, n3]);
      await cluster.leave(n4.machine);
      sites.pop();
      await allEncrypt();
      expect(losses(await streams.stop())).toEqual({});
    });

    test("uninstalled under streams it loses nothing, and every path is as it was before", async () => {
      await step("permissive");
      const streams = await startStreams();
      await rollOut(cluster, manifest("wg-cni-uninstall.yaml"));
      expect(losses(await streams.stop())).toEqual({});
      for (const { machine } of sites) expect(traces(machine)).toEqual([]);
      expect(sites.map(settingsOf)).toEqual(settings);
      expect((await kubectl(cluster, ["delete", "-f", "-"], manifest("wg-cni.yaml"))).exitCode).toBe(0);
      const { faults, read } = await tryAll(false);
      expect(faults).toEqual({});
      expect(read).toBeGreaterThan(100);
      await reachesPods();
    });

    /** The owner of a packet, and the node that sent it. */
    function describePacket({ time, source, destination, bytes }: Packet): string {
      const mac = Buffer.from(bytes.subarray(6, 12))
        .toString("hex")
        .replace(/(..)(?!$)/g, "$1:");
      const sender = sites.find(
        ({ machine }) =>
          readFileSync(`/proc/${machine.node.pid}/root/sys/class/net/eth0/address`, "utf8").trim() === mac,
      );
      return `${new Date(time * 1000).toISOString()} ${source} > ${destination} by ${sender?.machine.name}`;
    }

    /** The host's own, which the product may change while it is there. */
    function settingsOf({ machine }: Site): string {
      return machine.node.must(["sysctl", "-a", "-r", "^net\\.ipv[46]\\.conf\\.(all|default|eth0)\\."]);
    }

    /** Of ours in the kernel. */
    function traces({ node }: Machine): string[] {
      const commands = ["ip -o link", "ip rule", "ip -6 rule", "ip route show table all", "nft list tables"];
      const lines = commands.flatMap((command) => node.must(command.split(" ")).split("\n"));
      return lines.filter((line) => /wg-cni|lookup 1809|table 1809|goto/.test(line));
    }
  });
}
