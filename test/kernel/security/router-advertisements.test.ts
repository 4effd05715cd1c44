// A pod with NET_RAW speaks to its node as a router would: advertisements, redirects,
// claims to neighbours' addresses. By a link of ours the node learns nothing, whatever the
// host's defaults are; the control is a link made without us.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { succeed } from "../support/plugin.ts";
import { ip } from "../support/reference.ts";
import {
  arp,
  type Ends,
  neighbourAdvertisement,
  redirect4,
  redirect6,
  routerAdvertisement,
  send,
} from "./support/frames.ts";

setDefaultTimeout(30_000);

const attacker = "fe80::bad";
const prefix = "2001:db8:bad::";
const allNodes = { mac: "33:33:00:00:00:01", ip: "ff02::1" };
const settings = {
  "net/ipv4/conf/*/rp_filter": "1",
  "net/ipv4/conf/*/accept_redirects": "0",
  "net/ipv4/conf/*/send_redirects": "0",
  "net/ipv4/conf/*/proxy_arp": "0",
  "net/ipv6/conf/*/accept_ra": "0",
  "net/ipv6/conf/*/accept_redirects": "0",
  "net/ipv6/conf/*/proxy_ndp": "0",
} as const;
/** The opposite of each, as a host's administrator may have it for every interface that comes. */
const hostile = [0, 1, 1, 1, 2, 1, 1];

describeKernel("a pod that speaks as a router", () => {
  const lab = withLab("router");
  let node: Node;
  let pod: Pod;
  let bystander: Pod;
  let hostDev: string;
  let macs: Ends;
  const list = readConfList(`${repository}/conf/10-wg-cni.conflist`);
  const conf = { ...list.plugins[0], name: list.name, cniVersion: list.cniVersion };

  beforeAll(async () => {
    node = await lab.node("n1", {
      ...{ ip4: "192.0.2.1", ip6: "2001:db8::1" },
      podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
    });
    const defaults = Object.keys(settings).map(
      (path, i) => `echo ${hostile[i]} > ${pathOf("default", path)}`,
    );
    node.script([...defaults, "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"]);
    await node.wg(["up", ...node.upArguments]);
    pod = node.pod("evil");
    bystander = node.pod("other");
    const { json } = await succeed(node, "ADD", conf, pod);
    await succeed(node, "ADD", conf, bystander);
    hostDev = json.interfaces?.[0]?.name ?? "";
    macs = { from: json.interfaces?.[1]?.mac ?? "", to: json.interfaces?.[0]?.mac ?? "" };
    for (const { address } of json.ips ?? [])
      pod.ips[address.includes(":") ? 6 : 4] = address.slice(0, address.indexOf("/"));
  });
  const readSettings = (dev: string) =>
    Object.fromEntries(
      Object.keys(settings).map((path) => [path, node.must(["cat", pathOf(dev, path)]).trim()]),
    );
  const learned = (dev: string) => ({
    routes: ip(node, "-6", "route", "show", "dev", dev, "proto", "ra"),
    addresses: ip(node, "-6", "address", "show", "dev", dev, "scope", "global").flatMap(
      (link) => link.addr_info ?? [],
    ),
  });

  test("control: by a link that was made without us the node takes a route and an address", async () => {
    const other = node.pod("control");
    node.script([
      "ip link add ctl0 type veth peer name eth0 netns control",
      "ip link set ctl0 up",
      "ip -n control link set eth0 up",
    ]);
    const mac = (space: Node | Pod, dev: string) =>
      ip(space, "link", "show", "dev", dev)[0].address as string;
    const advertise = () =>
      send(other, "eth0", [
        routerAdvertisement(
          { from: mac(other, "eth0"), to: allNodes.mac },
          { from: attacker, to: allNodes.ip },
          prefix,
        ),
      ]);
    for (let tries = 0; tries < 20 && learned("ctl0").routes.length === 0; tries++) {
      advertise();
      await Bun.sleep(100);
    }
    expect(learned("ctl0").routes.map(({ dst }) => dst)).toContain("default");
    expect(learned("ctl0").addresses.length).toBeGreaterThan(0);
    node.script(["ip link delete ctl0"]);
  });

  test("the node's end has safe settings, whatever new interfaces begin with", () => {
    expect(readSettings(hostDev)).toEqual(settings);
  });

  test.each([
    ["to all nodes", allNodes.mac, allNodes.ip],
    ["to the node's own address", "", "2001:db8::1"],
  ])("an advertisement %s changes nothing", async (_, mac, to) => {
    const frames = [attacker, pod.ip(6)].map((from) =>
      routerAdvertisement({ from: macs.from, to: mac || macs.to }, { from, to }, prefix),
    );
    send(pod, "eth0", frames);
    await Bun.sleep(300);
    expect(learned(hostDev)).toEqual({ routes: [], addresses: [] });
  });

  test("redirects, and claims to addresses of other hosts, change nothing", async () => {
    const routes = () =>
      ["192.0.2.77", "2001:db8::77", "203.0.113.1", "2001:db8:5::1"].map((dst) =>
        node.must(["ip", "route", "get", dst]),
      );
    const neighbours = () =>
      ip(node, "neighbour", "show")
        .filter(({ dev }) => dev !== "eth0")
        .map(({ dst, dev, lladdr }) => `${dst} ${dev} ${lladdr}`)
        .sort();
    const before = { routes: routes(), neighbours: neighbours() };
    const broadcast = { from: macs.from, to: "ff:ff:ff:ff:ff:ff" };
    send(pod, "eth0", [
      redirect4(macs, { from: pod.ip(4), to: "192.0.2.1" }, pod.ip(4), "203.0.113.1"),
      redirect4(macs, { from: "192.0.2.254", to: "192.0.2.1" }, pod.ip(4), "203.0.113.1"),
      redirect6(macs, { from: attacker, to: "2001:db8::1" }, attacker, "2001:db8:5::1"),
      redirect6(macs, { from: pod.ip(6), to: "2001:db8::1" }, "2001:db8::77", "2001:db8::77"),
      neighbourAdvertisement(macs, { from: attacker, to: "2001:db8::1" }, "2001:db8::77"),
      neighbourAdvertisement(macs, { from: pod.ip(6), to: "2001:db8::1" }, "fd00:10:244:1::3"),
      ...["10.244.1.3", "192.0.2.77", "169.254.1.1"].flatMap((victim) => [
        arp(macs, 2, victim, "192.0.2.1"),
        arp(broadcast, 2, victim, victim),
        arp(broadcast, 1, victim, "192.0.2.1"),
      ]),
    ]);
    await Bun.sleep(300);
    expect({ routes: routes(), neighbours: neighbours() }).toEqual(before);
    expect(await ping(node, "10.244.1.3")).toMatchObject({ received: 3 });
  });

  test("the node does not answer a pod's queries for addresses of other hosts", () => {
    pod.script([
      "ip neighbour flush all",
      "ip route add 10.244.1.3 dev eth0",
      "ip route add fd00:10:244:1::3 dev eth0",
    ]);
    pod.exec(["ping", "-c", "1", "-W", "1", "10.244.1.3"]);
    pod.exec(["ping", "-c", "1", "-W", "1", "fd00:10:244:1::3"]);
    const answers = ip(pod, "neighbour", "show").filter(({ dst, lladdr }) =>
      dst.endsWith(".3") || dst.endsWith("::3") ? lladdr : false,
    );
    expect(answers).toEqual([]);
  });

  test("what another process has changed is restored by a sync, and the next one writes nothing", async () => {
    const paths = Object.keys(settings).map((path, i) => `echo ${hostile[i]} > ${pathOf(hostDev, path)}`);
    node.script([...paths, `ip link set ${hostDev} group default`]);
    const first = JSON.parse((await node.wg(["sync", "--json"])).stdout);
    expect(first.failures).toEqual([]);
    expect(readSettings(hostDev)).toEqual(settings);
    const second = JSON.parse((await node.wg(["sync", "--json"])).stdout);
    expect(second).toMatchObject({ steps: [], writes: 0 });
  });
});

function pathOf(dev: string, path: string): string {
  return `/proc/sys/${path.replace("*", dev)}`;
}
