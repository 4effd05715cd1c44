// The tunnel's MTU over uplinks of several sizes: the devices and the pods that
// are there follow the uplink at the next sync, the largest segment that fits
// passes whole, and what does not fit is told so. Witnesses are ip and tcpdump.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Capture } from "../../lab/capture.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type ConfList, type PluginConf, readConfList } from "../../lab/runtime.ts";
import { http } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addressing,
  devices,
  importPeers,
  ipJson,
  missing,
  type SyncJson,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";
import { isFragment, longestSegment, PodCapture, saidTooBig } from "../support/pod-capture.ts";

setDefaultTimeout(120_000);

/** Larger than any tunnel here, so that it is the route's MTU that matters. */
const podLinkMtu = 9500;
/** Some dozen full segments; as an argument of a program it may have 128 KB. */
const body = "x".repeat(100_000);
type Family = 4 | 6;

interface Underlay {
  readonly endpoints: Family;
  readonly families: readonly Family[];
  /** [uplink, what the tunnel is to have] */
  readonly mtus: readonly (readonly [number, number])[];
}

const underlays: readonly (readonly [string, Underlay])[] = [
  [
    "IPv4, pods of both families",
    {
      endpoints: 4,
      families: [4, 6],
      mtus: [
        [1280, 1280],
        [1400, 1340],
        [1460, 1400],
        [1500, 1440],
        [9001, 8941],
      ],
    },
  ],
  [
    "IPv6, pods of both families",
    {
      endpoints: 6,
      families: [4, 6],
      mtus: [
        [1280, 1280],
        [1400, 1320],
        [1460, 1380],
        [1500, 1420],
        [9001, 8921],
      ],
    },
  ],
  [
    "IPv4 alone",
    {
      endpoints: 4,
      families: [4],
      mtus: [
        [1280, 1220],
        [9001, 8941],
      ],
    },
  ],
];

describe.skipIf(missing !== undefined).each(underlays)("over %s", (_, { endpoints, families, mtus }) => {
  const lab = withLab(`mtu${endpoints}${families.length}`);
  let n1: Node;
  let n2: Node;
  /** Made by ptp, wg-cni chained to it. */
  let chained: Pod;
  /** Made by wg-cni. */
  let standalone: Pod;

  beforeAll(async () => {
    n1 = await lab.node("n1", address(1, families));
    n2 = await lab.node("n2", address(2, families));
    const records: NodeRecord[] = [];
    for (const node of [n1, n2]) {
      await wgMust(node, ["up", ...node.upArguments.toSpliced(2, 2, "--endpoint", node.ip(endpoints)!)]);
      records.push(await wgJson<NodeRecord>(node, ["node", "show"]));
    }
    for (const node of [n1, n2]) await importPeers(node, records);
    chained = await addPod(n1, "chained", chainedList(families));
    standalone = await addPod(n2, "standalone", readConfList(`${repository}/conf/10-wg-cni.conflist`));
    for (const pod of [chained, standalone]) await pod.serveHttp(body);
  });
  describe.each(mtus)("uplinks of %i", (uplink, tunnel) => {
    const isRaised = tunnel + (endpoints === 4 ? 60 : 80) > uplink;

    test("devices and live pods follow at the next sync, which then has nothing left to do", async () => {
      for (const node of [n1, n2]) setUplink(lab, node, uplink);
      for (const [node, other] of [
        [n1, n2],
        [n2, n1],
      ] as const) {
        const { mtu, failures } = await wgJson<SyncJson>(node, ["sync"]);
        const from = `eth0 towards ${other.ip(endpoints)} (node ${other.name}) has ${uplink}, less ${endpoints === 4 ? 60 : 80} for the tunnel`;
        const reason = isRaised
          ? `raised to 1280, which IPv6 needs; ${from}: outer packets will be fragmented`
          : from;
        expect(mtu).toMatchObject({ bytes: tunnel, reason });
        expect(failures).toEqual([]);
        for (const dev of devices) expect(linkMtu(node, dev)).toBe(tunnel);
        expect((await node.wg(["status"])).stdout).toContain(reason);
        expect(await wgJson(node, ["sync"])).toMatchObject({ writes: 0, steps: [] });
      }
      for (const family of families) expect(defaultRouteMtu(chained, family)).toBe(tunnel);
      expect(linkMtu(chained, "eth0")).toBe(podLinkMtu);
      expect([linkMtu(standalone, "eth0"), linkMtu(n2, hostLink(n2))]).toEqual([tunnel, tunnel]);
    });

    test.each(families)(
      "the largest TCP segment passes without ICMP, and whole where the tunnel fits its uplink, IPv%i",
      async (family) => {
        const wire = await lab.capture();
        for (const [from, to] of [
          [chained, standalone],
          [standalone, chained],
        ] as const) {
          const pod = await PodCapture.start(from);
          expect((await http(to, from.ip(family), 30)).text.length).toBe(body.length);
          const packets = await pod.packets();
          expect(longestSegment(packets, from.ip(family))).toBe(tunnel);
          expect(saidTooBig(packets)).toEqual([]);
        }
        const seen = await tallyWire(wire);
        expect(seen).toMatchObject({ plaintext: 0, host: 0, other: 0 });
        // A tunnel that had to be raised does not fit its uplink: its packets travel in two parts.
        if (isRaised) expect(seen.fragments).toBeGreaterThan(10);
        else expect(seen.fragments).toBe(0);
      },
    );

    test.each(families)("a datagram that does not fit is told so, IPv%i", async (family) => {
      const target = standalone.ip(family);
      expect(await datagram(chained, target, tunnel, "known")).toBe("arrived");
      expect(await datagram(chained, target, tunnel + 1, "known")).toBe("EMSGSIZE at once");
      expect(await datagram(standalone, chained.ip(family), tunnel + 1, "known")).toBe("EMSGSIZE at once");
      const capture = await PodCapture.start(chained);
      expect(await datagram(chained, target, tunnel + 1, "unknown")).toBe("EMSGSIZE later");
      expect([...new Set(saidTooBig(await capture.packets()))]).toEqual([tunnel]);
    });
  });
});

function address(index: number, families: readonly Family[]) {
  const { ip4, ip6, podCidrs } = addressing(index);
  return families.includes(6) ? { ip4, ip6, podCidrs } : { ip4, podCidrs: podCidrs.slice(0, 1) };
}

function chainedList(families: readonly Family[]): ConfList {
  const list = readConfList(`${repository}/conf/10-ptp.conflist`);
  const [ptp, ours] = list.plugins as [PluginConf, PluginConf];
  const { ranges, routes, ...ipam } = ptp["ipam"] as { ranges: unknown[]; routes: unknown[] };
  const kept = {
    ...ipam,
    ranges: ranges.slice(0, families.length),
    routes: routes.slice(0, families.length),
  };
  return { ...list, plugins: [{ ...ptp, mtu: podLinkMtu, ipam: kept }, ours] };
}

/** A pod that sends what it would send to the wire, not large buffers to be cut later. */
async function addPod(node: Node, name: string, list: ConfList): Promise<Pod> {
  const pod = node.pod(name);
  await node.runtime.add(list, pod);
  pod.must(["ip", "link", "set", "eth0", "gso_max_segs", "1"]);
  return pod;
}

function setUplink(lab: Lab, node: Node, mtu: number): void {
  lab.wire.must(["ip", "link", "set", node.name, "mtu", `${mtu}`]);
  node.must(["ip", "link", "set", "eth0", "mtu", `${mtu}`]);
}

function linkMtu(space: Namespaces, dev: string): number | undefined {
  return ipJson<{ mtu: number }>(space, "link", "show", "dev", dev)[0]?.mtu;
}

/** The node's end of its only pod. */
function hostLink(node: Node): string {
  const names = ipJson<{ ifname: string }>(node, "link", "show", "type", "veth").map(({ ifname }) => ifname);
  return names.find((name) => name.startsWith("wgc")) as string;
}

function defaultRouteMtu(pod: Pod, family: Family): number | undefined {
  const [route] = ipJson<{ metrics?: { mtu?: number }[] }>(pod, `-${family}`, "route", "show", "default");
  return route?.metrics?.[0]?.mtu;
}

async function tallyWire(wire: Capture) {
  const fragments = (await wire.packets()).filter(isFragment);
  const { packets } = await wire.tally();
  await wire.stop();
  // Parts of a packet have no ports to know it by; whether they were WireGuard's their first part says.
  const hidden = fragments.filter((packet) => wire.kindOf(packet) === "host").length;
  return { ...packets, host: packets.host - hidden, fragments: fragments.length };
}

async function datagram(from: Pod, to: string, bytes: number, size: "known" | "unknown"): Promise<string> {
  const script = `${import.meta.dir}/../support/oversize.ts`;
  const { stdout, stderr } = await from.run([process.execPath, "--smol", script, to, `${bytes}`, size]);
  return stdout || stderr;
}
