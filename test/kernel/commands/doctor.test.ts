// `doctor` on a node to which things are done: each fault is made for real, seen
// by the check that is there for it and by no other than those it reaches, and
// gone from the findings once it is undone. Nothing changes by being looked at.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import { readConfList } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  hostFacts,
  importPeers,
  missing,
  paperRecord,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

interface Finding {
  readonly check: string;
  readonly level: "ok" | "warn" | "fail";
  readonly summary: string;
  readonly details: readonly string[];
  readonly remedy?: string;
}

interface Report {
  readonly node?: string;
  readonly healthy: boolean;
  readonly findings: readonly Finding[];
}

describe.skipIf(missing !== undefined)("doctor", () => {
  const lab = withLab("doctor");
  let n1: Node;
  let n2: Node;

  const examine = async (node = n1) => {
    const done = await node.wg(["doctor", "--json"]);
    const report = JSON.parse(done.stdout) as Report;
    expect(done).toMatchObject({ stderr: "", exitCode: report.healthy ? 0 : 3 });
    return report;
  };
  /** Returns the warnings and failures, except that of a kernel without WireGuard. */
  const complaints = async () =>
    (await examine()).findings.filter(({ check, level }) => level !== "ok" && check !== "wireguard");
  const names = async () => (await complaints()).map(({ check, level }) => `${check} ${level}`);

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
  });
  test("if the node was never up it says so, and makes nothing", async () => {
    const { healthy, findings } = await examine();
    expect(healthy).toBe(false);
    expect(findings).toMatchObject([
      { check: "store", level: "fail", summary: expect.stringContaining("/var/lib/wg-cni") },
      { check: "disk", level: "ok" },
    ]);
    expect(existsSync(n1.outsidePath("/var/lib/wg-cni"))).toBe(false);
  });

  test("a mesh of two that works: no complaint, and looking changes nothing", async () => {
    for (const node of [n1, n2]) await wgMust(node, ["up", ...node.upArguments]);
    const records = await Promise.all([n1, n2].map((node) => wgJson<NodeRecord>(node, ["node", "show"])));
    for (const node of [n1, n2]) await importPeers(node, records);
    for (const [node, ip] of [
      [n1, "10.244.1.9"],
      [n2, "10.244.2.9"],
    ] as const)
      node.script([
        "ip link add pod0 type bridge",
        `ip address add ${ip}/32 dev pod0`,
        "ip link set pod0 up",
      ]);
    n1.must(["ping", "-q", "-c", "1", "-W", "10", "-I", "10.244.1.9", "10.244.2.9"]);
    const before = hostFacts(n1);
    const listing = () => n1.script(["cd /var/lib/wg-cni; stat -c '%n %a' *; sha256sum state.db"]);
    const files = listing();
    expect(await complaints()).toEqual([]);
    const done = await n1.wg(["doctor"]);
    expect(done.exitCode).toBe(0);
    expect(done.stdout).toMatch(/^n1: (1 warning, )?\d+ checks passed\n/);
    expect(done.stdout).toMatch(/^✓ handshakes +1 peer completed a handshake$/m);
    expect(done.stdout).toMatch(
      /^✓ mtu +1440: eth0 towards 192\.0\.2\.2 \(node n2\) has 1500, less 60 for the tunnel$/m,
    );
    expect(done.stdout).not.toContain("\x1b");
    expect(hostFacts(n1)).toEqual(before);
    expect(listing()).toBe(files);
  });

  const faults: readonly [
    what: string,
    made: readonly string[],
    undone: readonly string[],
    seen: readonly string[],
    says: RegExp,
  ][] = [
    [
      "a rule of another at our priority, with our mark",
      ["ip rule add priority 98 fwmark 0x20000000/0x30000000 lookup main"],
      ["ip rule delete priority 98 fwmark 0x20000000/0x30000000"],
      ["conflicts fail"],
      /rule "priority 98 fwmark 0x20000000\/0x30000000 lookup 254 .*--fwmark/,
    ],
    [
      "a rule before ours by which pods' packets leave, and one by which they do not",
      [
        "ip rule add priority 10 iif pod0 lookup 101",
        "ip route add default via 192.0.2.254 dev eth0 table 101",
        "ip rule add priority 11 iif pod0 lookup 102",
        "ip route add 10.99.0.0/16 via 192.0.2.254 dev eth0 table 102",
      ],
      [
        "ip rule delete priority 10",
        "ip rule delete priority 11",
        "ip route flush table 101",
        "ip route flush table 102",
      ],
      ["bypass rules warn"],
      /1 rule .* rule "priority 10 iif pod0 lookup 101.*": 0\.0\.0\.0\/0 via 192\.0\.2\.254 dev eth0 table 101/,
    ],
    [
      "rules of nftables and iptables that set bits of our mark, and some that set others",
      [
        "nft add table inet theirs",
        "nft 'add chain inet theirs c { type filter hook prerouting priority mangle; }'",
        "nft add rule inet theirs c ip saddr 10.244.1.0/24 meta mark set meta mark or 0x28000000",
        "nft add rule inet theirs c meta mark set 0x4000",
        "nft add rule inet theirs c meta mark set meta mark and 0x9fffffff",
        "iptables-nft -t mangle -A PREROUTING -j MARK --set-xmark 0x40000000/0xff000000",
        "iptables-nft -t mangle -A PREROUTING -j MARK --set-xmark 0x80000/0xff0000",
      ],
      ["nft delete table inet theirs", "iptables-nft -t mangle -F", "nft delete table ip mangle"],
      ["marks warn"],
      /2 rules .* 0x20000000\/0x60000000.*inet theirs, chain c: mark 0x28000000.*ip mangle, chain PREROUTING: mark 0x40000000/,
    ],
    [
      "a device that is down",
      ["ip link set wg-cni-b down"],
      ["wg sync"],
      ["mesh fail"],
      /ip link set wg-cni-b up/,
    ],
    [
      "an uplink that takes less",
      ["ip link set eth0 mtu 1400"],
      ["ip link set eth0 mtu 1500"],
      ["mesh fail", "mtu fail"],
      /wg-cni-a has 1440, wg-cni-b has 1440.* 1340: eth0 towards 192\.0\.2\.2/,
    ],
    [
      "a strict uplink whose marks do not count",
      ["echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter"],
      ["echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter", "wg sync"],
      ["mesh fail", "reverse path fail"],
      /eth0 .*src_valid_mark/,
    ],
    [
      "an address more than peers know of",
      ["ip address add 198.51.100.1/24 dev eth0"],
      ["ip address delete 198.51.100.1/24 dev eth0"],
      ["node IPs warn"],
      /198\.51\.100\.1 \(eth0\) is not among 192\.0\.2\.1, 2001:db8::1/,
    ],
    [
      "an endpoint that is no address of this host",
      // The routes to the peer go with it.
      ["ip address delete 192.0.2.1/24 dev eth0"],
      ["ip address add 192.0.2.1/24 dev eth0", "ip route add default via 192.0.2.254 dev eth0"],
      ["endpoint warn", "packet paths fail"],
      /no interface of this node has 192\.0\.2\.1/,
    ],
    [
      "no rule for addresses of this host, which then takes no packet",
      ["ip rule delete priority 0"],
      ["ip rule add priority 0 lookup local"],
      ["packet paths fail"],
      /arrive for 192\.0\.2\.1 are not delivered to this node/,
    ],
    [
      "a store that others may write",
      ["chmod 755 /var/lib/wg-cni", "chmod 666 /var/lib/wg-cni/state.db"],
      ["chmod 700 /var/lib/wg-cni", "chmod 600 /var/lib/wg-cni/state.db"],
      ["store warn"],
      /state\.db has mode 666.*chmod 700 \/var\/lib\/wg-cni; chmod 600/,
    ],
    [
      "a seal key that other users may read",
      ["chmod 644 /etc/wg-cni/seal.key"],
      ["chmod 600 /etc/wg-cni/seal.key"],
      ["seal key fail"],
      /seal\.key can be read by other users \(mode 644\)/,
    ],
    [
      "a seal key that is another",
      ["cp -p /etc/wg-cni/seal.key /etc/wg-cni/kept", "head -c 32 /dev/urandom >/etc/wg-cni/seal.key"],
      ["mv /etc/wg-cni/kept /etc/wg-cni/seal.key"],
      ["seal key fail"],
      /sealed with another seal key/,
    ],
    [
      "no seal key",
      ["mv /etc/wg-cni/seal.key /etc/wg-cni/kept"],
      ["mv /etc/wg-cni/kept /etc/wg-cni/seal.key"],
      ["seal key fail"],
      /the seal key \/etc\/wg-cni\/seal\.key is missing/,
    ],
  ];

  test.each(faults)("%s", async (_, made, undone, seen, says) => {
    await act(made);
    try {
      const found = await complaints();
      expect(found.map(({ check, level }) => `${check} ${level}`)).toEqual([...seen]);
      const texts = found.map(({ summary, details, remedy }) => [summary, ...details, remedy].join(" "));
      expect(texts.join("\n")).toMatch(says);
      for (const { remedy } of found) expect(remedy).toBeString();
    } finally {
      await act(undone);
    }
    expect(await names()).toEqual([]);
  });

  /** Shell lines on n1; "wg WORDS" is the product's command line. */
  async function act(lines: readonly string[]): Promise<void> {
    for (const line of lines)
      if (line.startsWith("wg ")) await wgMust(n1, line.slice(3).split(" "));
      else n1.script([line]);
  }

  test("peers: without a key, silent, with a network of another peer", async () => {
    const thief = paperRecord(3, { podCIDRs: ["10.244.2.0/25"] });
    await importPeers(n1, [paperRecord(1), paperRecord(2, { slots: [] }), thief]);
    n1.exec(["ping", "-c", "1", "-W", "1", "10.128.1.5"]);
    const found = await complaints();
    expect(found.map(({ check, level }) => `${check} ${level}`).sort()).toEqual([
      "claims warn",
      "handshakes fail",
      "peer keys fail",
    ]);
    const by = new Map(found.map((finding) => [finding.check, finding]));
    expect(by.get("peer keys")?.details).toEqual(["paper-2, reached in plaintext"]);
    expect(by.get("handshakes")?.details).toEqual([
      expect.stringMatching(/^paper-1 \(198\.18\.0\.1:51820\): \d+ B sent, nothing came back$/),
    ]);
    expect(by.get("handshakes")?.remedy).toContain("tcpdump -ni eth0 udp port 51820 or udp port 51821");
    expect(by.get("claims")?.details).toEqual([
      "pod CIDR 10.244.2.0/25 of paper-3 overlaps 10.244.2.0/24, which is already n2's",
    ]);
    for (const name of ["paper-1", "paper-2", "paper-3"]) await wgMust(n1, ["peer", "remove", name]);
    expect(await names()).toEqual([]);
  });

  test("a pod whose route lets through more than the tunnel takes", async () => {
    const list = readConfList(`${repository}/conf/10-ptp.conflist`);
    const pod = n1.pod("large");
    await n1.runtime.add(list, pod);
    expect((await examine()).findings.find(({ check }) => check === "pod mtu")).toMatchObject({
      ...{ level: "ok", summary: expect.stringContaining("1440") },
    });
    pod.script(["ip route change $(ip route show default | sed 's/mtu [0-9]*//') mtu 1500"]);
    const [found] = await complaints();
    expect(found).toMatchObject({ check: "pod mtu", level: "warn" });
    expect(found?.details).toEqual(["eth0 of container n1-large: 1500"]);
    await wgMust(n1, ["sync"]);
    expect(await names()).toEqual([]);
    await n1.runtime.del(list, pod);
    pod.remove();
  });

  test("what a pod's node sends in plaintext is counted, and said whose", async () => {
    await wgMust(n2, ["down"]);
    n2.exec(["ping", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.244.2.9", "10.244.1.9"]);
    const found = (await complaints()).find(({ check }) => check === "plaintext");
    expect(found).toMatchObject({
      level: "warn",
      details: [expect.stringMatching(/^n2: 3 in, 0 out, 3 of them leaked/)],
    });
    await wgMust(n2, ["up"]);
    n1.script(["nft delete table inet wg-cni"]);
    await wgMust(n1, ["sync"]);
  });

  test("an agent that decides and has gone, and one that runs", async () => {
    const agent = await n1.agent();
    const runs = (await examine()).findings.find(({ check }) => check === "agent");
    expect(runs?.level).toBe("ok");
    await agent.kill();
    const gone = (await complaints()).find(({ check }) => check === "agent");
    expect(gone?.level).toBe("fail");
    expect(gone?.remedy).toContain("`wg-cni agent`");
    for (const words of [["down"], ["up"]]) await wgMust(n1, words);
    const none = (await examine()).findings.find(({ check }) => check === "agent");
    expect(none).toMatchObject({ level: "ok" });
  });

  test("a node that is down", async () => {
    await wgMust(n1, ["down"]);
    const { findings } = await examine();
    expect(findings.find(({ check }) => check === "node")?.level).toBe("fail");
    expect(findings.map(({ check }) => check)).not.toContain("mesh");
    await wgMust(n1, ["up"]);
  });

  test("a disk that is nearly full, and a store that is damaged", async () => {
    n2.script([
      "mkdir /run/small",
      "mount -t tmpfs -o size=16m tmpfs /run/small",
      "mkdir -m 700 /run/small/state",
    ]);
    const flag = ["--state-dir", "/run/small/state"];
    const examineSmall = async () =>
      (JSON.parse((await n2.wg(["doctor", "--json", ...flag])).stdout) as Report).findings;
    await n2.wg(["status", ...flag]);
    expect(await examineSmall()).toMatchObject([
      ...[
        { check: "store", level: "ok" },
        { check: "disk", level: "warn" },
      ],
      { check: "node", level: "fail" },
      { check: "observation", level: "ok" },
    ]);
    n2.script(["head -c 15900k /dev/zero >/run/small/filler"]);
    expect((await examineSmall()).find(({ check }) => check === "disk")).toMatchObject({ level: "fail" });
    n2.script(["rm /run/small/filler", "head -c 4096 /dev/urandom >/run/small/state/state.db"]);
    expect(await examineSmall()).toMatchObject([
      { check: "store", level: "fail" },
      { check: "disk", level: "warn" },
    ]);
  });
});
