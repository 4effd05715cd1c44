// The product on real kernel WireGuard: two nodes as namespaces of the virtual
// machine, one pod made by ptp with wg-cni chained, one by wg-cni alone.
// Witnesses are wg, ip, ping and Debian's plugins, all inside the machine.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { allVersions } from "../kernel/support/plugin.ts";
import { Machine, type MachineArch, unavailable } from "./machine.ts";

/** Shell functions that the scripts below share: `node N COMMAND…`, `wgcni N …`, `plugin N VERB TYPE POD <config`. */
const prelude = `
set -e
export PATH=/opt/cni/bin:/usr/lib/cni:$PATH
node() { n=$1; shift; ip netns exec node$n "$@"; }
wgcni() { n=$1; shift; node $n /opt/cni/bin/wg-cni "$@" --state-dir /tmp/state$n; }
plugin() {
  ip netns exec node$1 env CNI_COMMAND=$2 CNI_CONTAINERID=$4 CNI_NETNS=/var/run/netns/$4 \\
    CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin:/usr/lib/cni $(command -v $3)
}
`;

const ptp = `{"cniVersion":"1.0.0","name":"pods","type":"ptp","ipam":{"type":"host-local","dataDir":"/tmp/host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd01::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}`;
const standalone = `{"cniVersion":"1.0.0","name":"pods","type":"wg-cni","stateDir":"/tmp/state2","ipam":{}}`;

/** Records of 1,000 peers, each with two keys, a node IP and two CIDRs of its own. */
const many = Array.from({ length: 1000 }, (_, i) => {
  const slot = (name: string, port: number) => ({
    slot: name,
    publicKey: randomKey(),
    port,
    state: "active",
  });
  const ip = `198.18.${i >> 8}.${i & 255}`;
  return {
    name: `many-${i}`,
    slots: [slot("a", 51820), slot("b", 51821)],
    endpoints: [ip],
    nodeIPs: [ip],
    podCIDRs: [`10.${100 + (i >> 8)}.${i & 255}.0/24`, `fd10:${(i + 1).toString(16)}::/64`],
  };
});

function randomKey(): string {
  const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(32)));
  // The highest bit of a public key is not set.
  bytes[31] = (bytes[31] as number) & 0x7f;
  return bytes.toString("base64");
}

/** Defines the tests. `slowness`: how much longer they may take than on an emulated x86-64 machine. */
export function describeProduct(arch: MachineArch, slowness = 1): void {
  const reason = unavailable();
  const title = `wg-cni on kernel WireGuard, ${arch}${reason ? ` (${reason})` : ""}`;
  const [testMs, scriptMs] = [120_000 * slowness, 240_000 * slowness];
  describe.skipIf(reason !== undefined)(title, () => {
    setDefaultTimeout(testMs);
    let machine: Machine;
    let directory: string;
    const run = (script: string) => machine.check(prelude + script, scriptMs);
    const json = async (script: string) => JSON.parse(await run(script));

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), "wgt-vm-"));
      writeFileSync(join(directory, "many"), JSON.stringify(many));
      machine = await Machine.boot({ arch, files: { "/tmp/many": join(directory, "many") } });
      await run(`
      ip netns add node1; ip netns add node2
      ip link add up1 netns node1 type veth peer name up2 netns node2
      for n in 1 2; do
        o=$((3 - n))
        node $n sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=1 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
        node $n ip link set lo up
        node $n ip address add 192.0.2.$n/24 dev up$n
        node $n ip address add 2001:db8::$n/64 dev up$n nodad
        node $n ip link set up$n up
        node $n ip route add 10.$o.0.0/24 via 192.0.2.$o
        node $n ip route add fd0$o::/64 via 2001:db8::$o
      done`);
    });
    afterAll(async () => {
      await machine?.[Symbol.asyncDispose]();
      if (directory !== undefined) rmSync(directory, { recursive: true });
    });

    test("VERSION answers with the versions of the specification", async () => {
      const answer = await json(`echo '{"cniVersion":"1.1.0"}' | CNI_COMMAND=VERSION /opt/cni/bin/wg-cni`);
      expect(answer).toEqual({ cniVersion: "1.1.0", supportedVersions: [...allVersions] });
    });

    test("up makes kernel devices, and peers see each other's records", async () => {
      await run(`
      for n in 1 2; do
        wgcni $n up --node node$n --endpoint 192.0.2.$n --node-ip 192.0.2.$n --node-ip 2001:db8::$n --pod-cidr 10.$n.0.0/24 --pod-cidr fd0$n::/64
        wgcni $n node show --json > /tmp/record$n
      done
      wgcni 1 peer import /tmp/record2
      wgcni 2 peer import - < /tmp/record1`);
      const links = await json("node 1 ip -j -d link show type wireguard");
      expect(links.map((link: { ifname: string }) => link.ifname).sort()).toEqual(["wg-cni-a", "wg-cni-b"]);
      const record = await json("cat /tmp/record2");
      const dump = await run("node 1 wg show wg-cni-a dump | tail -n +2 | cut -f1,3,4");
      expect(dump).toContain(record.slots[0].publicKey);
      expect(dump).toContain("192.0.2.2:51820");
      for (const prefix of ["10.2.0.0/24", "fd02::/64", "192.0.2.2/32", "2001:db8::2/128"])
        expect(dump).toContain(prefix);
      expect((await json("wgcni 1 status --json")).backend).toBe("kernel");
    });

    test("a second sync writes nothing", async () => {
      expect((await json("wgcni 1 sync --json")).writes).toBe(0);
      expect((await json("wgcni 2 sync --json")).writes).toBe(0);
    });

    test("NAPI threading is switched on and off on devices with peers, once; other devices are let be", async () => {
      const threaded = (node: number) => run(`node ${node} sh -c 'cat /sys/class/net/wg-cni-[ab]/threaded'`);
      const switched = (value: number) =>
        ["a", "b"].map((slot) => `echo ${value} > /sys/class/net/wg-cni-${slot}/threaded`);
      expect(await threaded(1)).toBe("0\n0\n");
      expect(await json("wgcni 1 up --napi-threading on --json")).toMatchObject({
        ...{ steps: switched(1), writes: 2, failures: [] },
      });
      expect(await threaded(1)).toBe("1\n1\n");
      expect(await threaded(2)).toBe("0\n0\n");
      expect(await run("cat /proc/[0-9]*/comm 2>/dev/null | grep ^napi/wg-cni-a | wc -l")).toBe("1\n");
      expect((await json("wgcni 1 sync --json")).writes).toBe(0);
      expect(await json("wgcni 1 up --napi-threading off --json")).toMatchObject({
        ...{ steps: switched(0), writes: 2, failures: [] },
      });
      expect(await threaded(1)).toBe("0\n0\n");
      expect((await json("wgcni 1 sync --json")).writes).toBe(0);

      // A device without peers cannot have it, and is not asked.
      await run("ip netns add node3");
      const alone = await json(
        "wgcni 3 up --node node3 --endpoint 192.0.2.3 --pod-cidr 10.3.0.0/24 --napi-threading on --json",
      );
      expect(alone.failures).toEqual([]);
      expect(alone.steps.join("\n")).not.toContain("threaded");
      expect((await json("wgcni 3 peer import /tmp/record2 --json")).steps).toEqual(
        expect.arrayContaining(switched(1)),
      );
      expect(await threaded(3)).toBe("1\n1\n");
      expect((await json("wgcni 3 sync --json")).writes).toBe(0);
      expect((await json("wgcni 3 peer remove node2 --json")).failures).toEqual([]);
      await run("wgcni 3 down > /dev/null; ip netns delete node3");
    });

    test("NAPI threading without the namespace's own sysfs fails in a sentence, and nothing else does", async () => {
      // Below the sysfs that `ip netns exec` mounts is the machine's, of another namespace.
      const failed = await machine.run(
        `${prelude} node 1 sh -c 'umount /sys && wg-cni up --napi-threading on --state-dir /tmp/state1'`,
      );
      expect(failed.exitCode).toBe(1);
      expect(failed.output).toContain(
        "Cannot switch NAPI threading of wg-cni-a on: /sys/class/net/wg-cni-a is not there",
      );
      expect(failed.output).toContain("Mount this network namespace's own sysfs at /sys");
      expect(await run("node 1 cat /sys/class/net/wg-cni-a/threaded")).toBe("0\n");
      await run(
        "node 1 sh -c 'umount /sys && wg-cni up --napi-threading off --state-dir /tmp/state1' > /dev/null",
      );
      expect((await json("wgcni 1 sync --json")).writes).toBe(0);
    });

    test("pods of both roles are added, and talk through the tunnel in both families", async () => {
      await run(`
      ip netns add pod1; ip netns add pod2
      echo '${ptp}' > /tmp/ptp
      plugin 1 ADD ptp pod1 < /tmp/ptp > /tmp/result1
      printf '{"cniVersion":"1.0.0","name":"pods","type":"wg-cni","stateDir":"/tmp/state1","prevResult":' > /tmp/chained
      cat /tmp/result1 >> /tmp/chained; echo '}' >> /tmp/chained
      plugin 1 ADD wg-cni pod1 < /tmp/chained > /tmp/chained-result
      echo '${standalone}' > /tmp/standalone
      plugin 2 ADD wg-cni pod2 < /tmp/standalone > /tmp/result2`);
      const before = await json("cat /tmp/result1");
      expect(await json("cat /tmp/chained-result")).toEqual(before);
      const made = await json("cat /tmp/result2");
      const [v4, v6] = made.ips.map(({ address }: { address: string }) =>
        address.slice(0, address.indexOf("/")),
      );
      expect(v4).toStartWith("10.2.0.");
      expect(v6).toStartWith("fd02::");
      const output = await run(`
      ip netns exec pod1 ping -q -c 3 -i 0.2 ${v4}
      ip netns exec pod1 ping -q -c 3 -i 0.2 ${v6}
      node 1 ping -q -c 3 -i 0.2 ${v4}
      ip netns exec pod2 ping -q -c 3 -i 0.2 192.0.2.1`);
      expect(output.match(/ 0% packet loss/g)).toHaveLength(4);
      const transfer = (await run("node 1 wg show wg-cni-a transfer")).trim().split(/\s+/);
      // 12 echoes of 84 or 104 bytes each way, and the handshake.
      expect(Number(transfer[1])).toBeGreaterThan(1000);
      expect(Number(transfer[2])).toBeGreaterThan(1000);
    });

    test("CHECK passes, and says what is missing once a route is gone", async () => {
      await run(`
      plugin 1 CHECK wg-cni pod1 < /tmp/chained
      sed -i 's/}$/,"prevResult":/' /tmp/standalone; cat /tmp/result2 >> /tmp/standalone; echo '}' >> /tmp/standalone
      plugin 2 CHECK wg-cni pod2 < /tmp/standalone`);
      const refusal = await run(`
      node 1 ip route flush table 18099 type throw
      plugin 1 CHECK wg-cni pod1 < /tmp/chained || true
      wgcni 1 sync > /dev/null; plugin 1 CHECK wg-cni pod1 < /tmp/chained`);
      expect(refusal).toContain('"code":104');
      expect(refusal).toContain("is missing from table 18099");
    });

    test("1,000 peers are programmed and read back equal by wg; then nothing is left to do", async () => {
      await run("wgcni 1 peer import /tmp/many > /dev/null");
      const expected = many.map(
        ({ slots, endpoints, nodeIPs, podCIDRs }) =>
          `${slots[0]?.publicKey} ${endpoints[0]}:51820 ${[...podCIDRs, ...nodeIPs.map((ip) => `${ip}/32`)].sort().join(",")}`,
      );
      const dump = await run("node 1 wg show wg-cni-a dump | tail -n +2 | cut -f1,3,4");
      const seen = dump
        .trim()
        .split("\n")
        .map((line) => line.split("\t"))
        .map(([key, endpoint, allowed]) => `${key} ${endpoint} ${allowed?.split(",").sort().join(",")}`);
      expect(seen).toHaveLength(1001);
      expect(seen).toEqual(expect.arrayContaining(expected));
      expect((await json("wgcni 1 sync --json")).writes).toBe(0);
    });

    test("DEL and down leave nothing of ours", async () => {
      const left = await run(`
      plugin 1 DEL wg-cni pod1 < /tmp/chained; plugin 1 DEL wg-cni pod1 < /tmp/chained
      plugin 1 DEL ptp pod1 < /tmp/ptp
      plugin 2 DEL wg-cni pod2 < /tmp/standalone
      for n in 1 2; do wgcni $n down > /dev/null; done
      for n in 1 2; do
        node $n ip rule show | grep -c 18099 || true
        node $n ip -6 rule show | grep -c 18099 || true
        node $n ip route show table all | grep -c 'proto 118' || true
        node $n ip -6 route show table all | grep -c 'proto 118' || true
        node $n ip -br link | grep -c -E 'wg-cni|wgc' || true
        node $n sysctl -n net.ipv4.conf.up$n.src_valid_mark
      done`);
      expect(left.trim().split("\n")).toEqual(Array.from({ length: 12 }, () => "0"));
    });
  });
}
