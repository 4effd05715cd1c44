// Other programs use the settings that wg-cni changes on a host, too. Every sysctl of the network
// namespace is compared: before `up`, while the mesh is there, and after `down`.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, wgMust } from "../support/mesh-reference.ts";
import { succeed } from "../support/plugin.ts";

/** The sysctls that count or fill up by themselves. */
const volatile = /nf_conntrack_count|\.neigh\.|random|ipfrag|tcp_mem|netfilter\.nf_log/;

/** Every sysctl of the node's network as "name = value", but for those of our own devices. */
function sysctls(node: Node): string[] {
  const ours = new RegExp(devices.map((dev) => `\\.${dev}\\.`).join("|"));
  return node
    .exec(["sysctl", "-a", "--pattern", "^net\\."])
    .stdout.split("\n")
    .filter((line) => line !== "" && !volatile.test(line) && !ours.test(line))
    .sort();
}

function differences(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...after.filter((line) => !before.includes(line)),
    ...before.filter((line) => !after.includes(line)),
  ]
    .map((line) => line.split(" = ")[0] as string)
    .filter((name, i, all) => all.indexOf(name) === i)
    .sort();
}

const validMark = "net.ipv4.conf.eth0.src_valid_mark";
/** In every mode: the devices have their ports in each. */
const ports = "net.ipv4.ip_local_reserved_ports";

describeKernel("changes of the host", () => {
  const lab = withLab("changes");
  let n1: Node;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    const n2 = await addNode(lab, 2);
    await joinMesh([n1, n2]);
    await wgMust(n1, ["down"]);
  });
  afterEach(async () => {
    await n1.wg(["down"]);
    setFilter(0, 0);
  });

  /** The peer is known since it was imported. */
  const up = (options: Readonly<Record<string, string>> = {}) => {
    const all = { "--mode": "permissive", "--host-encryption": "off", ...options };
    return wgMust(n1, ["up", ...Object.entries(all).flat()]);
  };
  const setFilter = (all: number, uplink: number) =>
    n1.script([
      `echo ${all} >/proc/sys/net/ipv4/conf/all/rp_filter`,
      `echo ${uplink} >/proc/sys/net/ipv4/conf/eth0/rp_filter`,
    ]);

  describe.each(["off", "permissive", "strict"])("mode %s", (mode) => {
    test.each([
      [0, 0, false],
      [0, 1, true],
      [1, 0, true],
      [1, 2, false],
      [2, 1, false],
    ])("rp_filter %i of all and %i of the uplink: marks are heeded %p", async (all, uplink, heeded) => {
      setFilter(all, uplink);
      const before = sysctls(n1);
      expect(before.length).toBeGreaterThan(100);
      await up({ "--mode": mode });
      expect(differences(before, sysctls(n1))).toEqual(
        heeded && mode !== "off" ? [validMark, ports] : [ports],
      );
      await wgMust(n1, ["down"]);
      expect(differences(before, sysctls(n1))).toEqual([]);
    });
  });

  test("host encryption changes no more than that", async () => {
    setFilter(1, 1);
    const before = sysctls(n1);
    await up({ "--host-encryption": "on" });
    expect(differences(before, sysctls(n1))).toEqual([validMark, ports]);
    await wgMust(n1, ["down"]);
    expect(differences(before, sysctls(n1))).toEqual([]);
  });

  test("it is taken back when the filter is no longer strict, and with mode off", async () => {
    setFilter(0, 1);
    await up();
    const value = () => n1.must(["sysctl", "-n", validMark]).trim();
    expect(value()).toBe("1");
    setFilter(0, 2);
    await wgMust(n1, ["sync"]);
    expect(value()).toBe("0");
    setFilter(0, 1);
    await wgMust(n1, ["sync"]);
    expect(value()).toBe("1");
    await up({ "--mode": "off" });
    expect(value()).toBe("0");
  });

  test("down keeps what another process has set meanwhile", async () => {
    setFilter(0, 1);
    n1.script([`sysctl -qw ${validMark}=1`]);
    await up();
    await wgMust(n1, ["down"]);
    expect(n1.must(["sysctl", "-n", validMark])).toBe("1\n");
    n1.script([`sysctl -qw ${validMark}=0`]);
    await up();
    n1.script(["sysctl -qw net.ipv4.conf.all.log_martians=1", `sysctl -qw ${validMark}=0`]);
    await wgMust(n1, ["down"]);
    expect(n1.must(["sysctl", "-n", validMark, "net.ipv4.conf.all.log_martians"])).toBe("0\n1\n");
    n1.script(["sysctl -qw net.ipv4.conf.all.log_martians=0"]);
  });

  test("an interface behind which only peers' pods are is one of them: another plugin's tunnel", async () => {
    setFilter(0, 1);
    n1.script([
      "ip link add overlay type veth peer name overlay-peer",
      "ip link set overlay up",
      "ip link set overlay-peer up",
      "echo 1 >/proc/sys/net/ipv4/conf/overlay/rp_filter",
      "ip route replace 10.244.2.0/24 dev overlay",
    ]);
    const before = sysctls(n1);
    await up();
    expect(differences(before, sysctls(n1)).sort()).toEqual([
      validMark,
      "net.ipv4.conf.overlay.src_valid_mark",
      ports,
    ]);
    await wgMust(n1, ["down"]);
    expect(differences(before, sysctls(n1))).toEqual([]);
    n1.script(["ip link delete overlay", "ip route replace 10.244.2.0/24 via 192.0.2.2 dev eth0"]);
  });

  describe("as the main plugin", () => {
    const conf = {
      ...{ type: "wg-cni", name: "own", cniVersion: "1.0.0" },
      ipam: { ranges: [[{ subnet: "10.9.1.0/24" }], [{ subnet: "fd00:9:1::/64" }]] },
    };
    const forwarding = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    /** The kernel's ways of one router's advertisement. */
    const advertised = () => n1.must(["ip", "-6", "route", "show", "default", "proto", "ra"]).trim();
    const read = (...names: string[]) =>
      n1
        .must(["sysctl", "-n", ...names])
        .trim()
        .split("\n");
    let ownForwarding: string[];
    /** A router of the nodes' network says that it is there, until the node has heard. */
    const hear = () =>
      waitUntil(
        () => {
          lab.wire.must([process.execPath, `${import.meta.dir}/../support/advertise.ts`, "br0"]);
          return advertised() !== "";
        },
        { what: "a route by an advertisement", everyMs: 100 },
      );

    beforeAll(() => {
      ownForwarding = read(...forwarding);
      n1.script([
        ...forwarding.map((name) => `sysctl -qw ${name}=0`),
        // A host that has been hardened, and an interface that forwards by itself.
        "sysctl -qw net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.lo.forwarding=1",
        "sysctl -qw net.ipv6.conf.eth0.accept_ra=1",
      ]);
    });
    beforeEach(async () => {
      n1.script(["sysctl -qw net.ipv6.conf.eth0.accept_ra=1"]);
      await hear();
    });
    afterAll(() => {
      n1.script([
        "ip -6 route flush proto ra",
        "sysctl -qw net.ipv6.conf.eth0.accept_ra=0",
        ...forwarding.map((name, i) => `sysctl -qw ${name}=${ownForwarding[i]}`),
      ]);
    });

    test("control: forwarding that is switched on by itself takes a router's default route away", async () => {
      n1.script(["sysctl -qw net.ipv6.conf.all.forwarding=1"]);
      expect(advertised()).toBe("");
      lab.wire.must([process.execPath, `${import.meta.dir}/../support/advertise.ts`, "br0"]);
      // If the node accepted it, its effect would show within the time of the other tests.
      await Bun.sleep(200);
      expect(advertised()).toBe("");
      n1.script(["sysctl -qw net.ipv6.conf.all.forwarding=0"]);
    });

    test("forwarding goes on with the first pod, routers are still heard, and down leaves nothing", async () => {
      const before = sysctls(n1);
      const pod = n1.pod("forwarded");
      await up();
      expect(read(...forwarding)).toEqual(["0", "0"]);
      await succeed(n1, "ADD", conf, pod);
      expect(read(...forwarding, "net.ipv6.conf.eth0.accept_ra")).toEqual(["1", "1", "2"]);
      expect(advertised()).not.toBe("");
      n1.script(["ip -6 route flush proto ra"]);
      await hear();
      // Its pods forward for as long as there are any.
      await wgMust(n1, ["down"]);
      expect(read(...forwarding)).toEqual(["1", "1"]);
      await succeed(n1, "DEL", conf, pod);
      await wgMust(n1, ["sync"]);
      pod.remove();
      expect(differences(before, sysctls(n1))).toEqual([]);
    });

    test("what another process has set meanwhile stays", async () => {
      const pod = n1.pod("meanwhile");
      await up();
      await succeed(n1, "ADD", conf, pod);
      n1.script([
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv6.conf.eth0.accept_ra=0",
        "sysctl -qw net.ipv4.conf.all.accept_redirects=1",
      ]);
      await succeed(n1, "DEL", conf, pod);
      await wgMust(n1, ["down"]);
      pod.remove();
      const names = [...forwarding, "net.ipv6.conf.eth0.accept_ra", "net.ipv4.conf.all.accept_redirects"];
      expect(read(...names)).toEqual(["0", "0", "0", "1"]);
    });
  });

  test("a transparent proxy with a mark of its own goes on to work", async () => {
    setFilter(1, 1);
    const pod = n1.pod("proxied");
    attachByHand(pod, "1.0.0", {
      hostDev: "veth-proxied",
      ips: [{ address: "10.9.0.5/32", gateway: "10.9.0.1" }],
    });
    n1.script([
      "ip address add 10.9.0.1/32 dev veth-proxied",
      // The proxy answers from this address.
      "ip address add 203.0.113.9/32 dev lo",
      "ip rule add pref 90 fwmark 0x1/0x1 lookup 100",
      "ip route add local default dev lo table 100",
      "nft add table inet proxy",
      "nft 'add chain inet proxy divert { type filter hook prerouting priority mangle; }'",
      "nft add rule inet proxy divert iifname veth-proxied ip daddr 203.0.113.9 meta mark set 0x1",
    ]);
    const answers = async () => (await ping(pod, "203.0.113.9", { count: 2 })).received;
    expect(await answers()).toBe(2);
    await up();
    expect(n1.must(["sysctl", "-n", validMark])).toBe("1\n");
    expect(await answers()).toBe(2);
    // The same for all interfaces, as it was before, breaks it.
    n1.script(["sysctl -qw net.ipv4.conf.all.src_valid_mark=1"]);
    expect(await answers()).toBe(0);
    n1.script([
      "sysctl -qw net.ipv4.conf.all.src_valid_mark=0",
      "nft delete table inet proxy",
      "ip rule delete pref 90",
      "ip address delete 203.0.113.9/32 dev lo",
      "ip route flush table 100",
    ]);
    removeByHand(pod);
  });
}, ["sysctl", "nft", "wireguard-go"]);
