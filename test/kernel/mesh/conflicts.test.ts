// `up` takes nothing that somebody else holds, and says which flag helps;
// `down` takes away what `up` made and nothing else; settings are obeyed.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  hostFacts,
  importPeers,
  missing,
  paperRecord,
  routeLines,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

describe.skipIf(missing !== undefined)("up and down", () => {
  const lab = withLab("conflicts");
  let n1: Node;
  let untouched: string[];

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    untouched = hostFacts(n1);
  });
  const conflicts: readonly [what: string, made: string, undone: string, said: RegExp][] = [
    [
      "a rule at our priority",
      "ip rule add priority 98 from 198.51.100.0/24 lookup main",
      "ip rule delete priority 98",
      /priority.*--rule-priority/,
    ],
    [
      "an IPv6 rule between ours",
      "ip -6 rule add priority 99 lookup main",
      "ip -6 rule delete priority 99",
      /priority.*--rule-priority/,
    ],
    [
      "a rule that points at our table",
      "ip rule add priority 500 lookup 18099",
      "ip rule delete priority 500",
      /18099.*--pod-table/,
    ],
    [
      "routes in a table of ours",
      "ip route add throw 198.51.100.0/24 table 18098",
      "ip route flush table 18098",
      /18098.*--host-table/,
    ],
    [
      "IPv6 routes in a table of ours",
      "ip -6 route add throw 2001:db8:9::/64 table 18099",
      "ip -6 route flush table 18099",
      /18099.*--pod-table/,
    ],
    [
      "a device of another kind with our name",
      "ip link add wg-cni-b type bridge",
      "ip link delete wg-cni-b",
      /wg-cni-b.*bridge.*--device-b/,
    ],
    [
      "a rule that looks at our mark",
      "ip rule add priority 300 fwmark 0x30000000/0x30000000 lookup main",
      "ip rule delete priority 300",
      /mark.*--fwmark/,
    ],
    [
      "Calico's WireGuard",
      "ip link add wireguard.cali type bridge",
      "ip link delete wireguard.cali",
      /Calico.*switch one of the two off/,
    ],
    [
      "a TUN device of another program with our name",
      "ip tuntap add wg-cni-a mode tun",
      "ip link delete wg-cni-a",
      /wg-cni-a is taken by a TUN interface.*--device-a/,
    ],
  ];

  test.each(conflicts)("refuses, and changes nothing: %s", async (_, made, undone, said) => {
    n1.script([made]);
    await expectRefusal(said);
    n1.script([undone]);
    expect(hostFacts(n1)).toEqual(untouched);
  });

  test("refuses, and changes nothing: a busy UDP port", async () => {
    const script = `await Bun.udpSocket({ port: 51821 }); console.error("bound"); await Bun.sleep(60_000);`;
    const holder = n1.start([process.execPath, "-e", script]);
    await holder.saidOnStderr("bound");
    await expectRefusal(/UDP port 51821.*--port-b/);
    expect((await n1.wg(["up", ...n1.upArguments, "--port-b", "51899"])).exitCode).toBe(0);
    expect(wgDump(n1)["wg-cni-b"]?.port).toBe(51899);
    await wgMust(n1, ["down"]);
    await holder.stop("SIGKILL");
    await wgMust(n1, ["up", "--port-b", "default"]);
    await wgMust(n1, ["down"]);
  });

  test("what other processes make after down is theirs: sync and down leave it", async () => {
    await wgMust(n1, ["up", ...n1.upArguments]);
    await wgMust(n1, ["down"]);
    n1.script([
      "ip tuntap add wg-cni-a mode tun",
      "ip route add throw 198.51.100.0/24 table 18099",
      "ip rule add priority 700 lookup 18098",
    ]);
    const theirs = hostFacts(n1);
    for (const command of ["sync", "down"]) {
      expect(await wgJson(n1, [command])).toMatchObject({ writes: 0, steps: [] });
      expect(hostFacts(n1)).toEqual(theirs);
    }
    n1.script(["ip link delete wg-cni-a", "ip route flush table 18099", "ip rule delete priority 700"]);
    expect(hostFacts(n1)).toEqual(untouched);
  });

  test("if nothing of ours is there yet, as after a boot, sync names what other processes have taken meanwhile, and goes on", async () => {
    await wgMust(n1, ["up", ...n1.upArguments]);
    // Another network namespace is to the store what another boot is: nothing was programmed there.
    const said = await n1.run([
      "unshare",
      "--net",
      // Sockets of userspace devices are named after the interface, whatever namespace it is in.
      "--mount",
      "sh",
      "-c",
      `mount -t tmpfs tmpfs /run/wireguard; ip link set lo up; ip rule add priority 98 from 198.51.100.0/24 lookup main; ${binary} sync; echo $?; ip -br link; ip rule`,
    ]);
    expect(said.stdout).toMatch(/priority 98.*--rule-priority/);
    expect(said.stdout).toMatch(/^0$/m);
    expect(said.stdout).toMatch(/lookup 18099/);
    await wgMust(n1, ["down"]);
    expect(hostFacts(n1)).toEqual(untouched);
  });

  /** Nothing changes on the host, and the store learns nothing of what was asked. */
  async function expectRefusal(said: RegExp): Promise<void> {
    const before = hostFacts(n1);
    const done = await n1.wg(["up", ...n1.upArguments, "--persistent-keepalive", "11"]);
    expect(done).toMatchObject({ exitCode: 2, stdout: "" });
    expect(done.stderr).toMatch(said);
    expect(done.stderr).toContain("nothing was changed");
    expect(hostFacts(n1)).toEqual(before);
    expect(n1.must(["wg", "show"])).toBe("");
    const status = await n1.wg(["status", "--json"]);
    expect(status.exitCode).toBe(3);
    expect(status.stdout).toContain('"up": false');
  }

  test("the way that the message shows leads on", async () => {
    n1.script(["ip rule add priority 98 from 198.51.100.0/24 lookup main"]);
    await wgMust(n1, ["up", ...n1.upArguments, "--rule-priority", "90"]);
    expect(n1.must(["ip", "rule"])).toContain("91:\tfrom all lookup 18099 proto 118");
    await wgMust(n1, ["down"]);
    expect(n1.must(["ip", "rule"])).toContain("98:\tfrom 198.51.100.0/24 lookup main");
    n1.script(["ip rule delete priority 98"]);
    await wgMust(n1, ["up", "--rule-priority", "default"]);
    await wgMust(n1, ["down"]);
    expect(hostFacts(n1)).toEqual(untouched);
  });

  test("down removes all that up made, may be repeated, and the next up has the same keys", async () => {
    await wgMust(n1, ["up", ...n1.upArguments]);
    await importPeers(n1, [paperRecord(1), paperRecord(2)]);
    const record = await wgJson<NodeRecord>(n1, ["node", "show"]);
    const keys = Object.values(wgDump(n1)).map(({ privateKey }) => privateKey);
    for (const _ of [1, 2]) {
      expect(await wgJson(n1, ["down"])).toMatchObject({ failures: [] });
      expect(hostFacts(n1)).toEqual(untouched);
    }
    expect(await wgJson(n1, ["down"])).toMatchObject({ writes: 0 });
    // A sync of a node that is down finds nothing to do.
    expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 0, steps: [] });
    await wgMust(n1, ["up"]);
    expect(await wgJson<NodeRecord>(n1, ["node", "show"])).toEqual(record);
    expect(Object.values(wgDump(n1)).map(({ privateKey }) => privateKey)).toEqual(keys);
    expect(Object.keys(wgDump(n1)["wg-cni-a"]!.peers)).toHaveLength(2);
    await wgMust(n1, ["down"]);
  });

  test("down restores a sysctl, and leaves one that another process has changed since", async () => {
    n1.strictReversePath();
    const path = "/proc/sys/net/ipv4/conf/eth0/src_valid_mark";
    const value = () => n1.must(["cat", path]).trim();
    n1.script([`echo 1 >${path}`]);
    await wgMust(n1, ["up"]);
    await wgMust(n1, ["down"]);
    expect(value()).toBe("1");
    n1.script([`echo 0 >${path}`]);
    await wgMust(n1, ["up"]);
    expect(value()).toBe("1");
    n1.script([`echo 0 >${path}`]);
    await wgMust(n1, ["down"]);
    expect(value()).toBe("0");
    n1.script(["all", "eth0"].map((dev) => `echo 0 >/proc/sys/net/ipv4/conf/${dev}/rp_filter`));
  });

  test("--new-keys makes new keys and programs them", async () => {
    const keys = async () =>
      (await wgJson<NodeRecord>(n1, ["node", "show"])).slots.map((slot) => slot.publicKey);
    await wgMust(n1, ["up"]);
    const first = await keys();
    await wgMust(n1, ["up", "--new-keys"]);
    const second = await keys();
    expect(second).not.toEqual(first);
    expect(
      Object.values(wgDump(n1))
        .map(({ publicKey }) => publicKey)
        .sort(),
    ).toEqual(second.toSorted());
    await wgMust(n1, ["down"]);
  });

  test("settings are obeyed, and those that name what is there are fixed while it is there", async () => {
    const settings = [
      ...["--device-a", "wga", "--device-b", "wgb", "--port-a", "40001", "--port-b", "40007"],
      ...[
        "--fwmark",
        "0x200000/0x600000",
        "--rule-priority",
        "150",
        "--host-table",
        "201",
        "--pod-table",
        "200",
      ],
      ...[
        "--route-protocol",
        "119",
        "--mtu",
        "1333",
        "--persistent-keepalive",
        "15",
        "--backend",
        "userspace",
      ],
    ];
    await wgMust(n1, ["up", ...settings]);
    const dump = wgDump(n1);
    expect(dump["wga"]).toMatchObject({ port: 40001, fwmark: "0x200000" });
    expect(dump["wgb"]).toMatchObject({ port: 40007, fwmark: "0x200000" });
    for (const { keepalive } of Object.values(dump["wga"]!.peers)) expect(keepalive).toBe("15");
    expect(n1.must(["ip", "link", "show", "wga"])).toContain("mtu 1333");
    expect(routeLines(n1, 4, 200)).toContain(
      "unicast 10.128.1.0/24 dev wga proto 119 scope link src 192.0.2.1",
    );
    expect(routeLines(n1, 4, 201)).toContain("unicast 198.18.0.1 dev wga proto 119 scope link");
    for (const flag of ["-4", "-6"])
      expect(n1.must(["ip", flag, "rule"]).replaceAll("\t", " ").split("\n")).toEqual(
        expect.arrayContaining([
          "150: from all fwmark 0x200000/0x600000 iif lo goto 153 proto 119",
          "151: from all lookup 200 proto 119",
          "152: not from all iif lo lookup 201 proto 119",
          "153: from all nop proto 119",
        ]),
      );
    const before = hostFacts(n1);
    for (const [flag, value] of [
      ["--device-a", "wgx"],
      ["--port-b", "40008"],
      ["--fwmark", "0x2/0x6"],
      ["--rule-priority", "default"],
      ["--pod-table", "300"],
      ["--route-protocol", "default"],
      ["--seal-key-file", "/etc/other.key"],
    ] as const) {
      const done = await n1.wg(["up", flag, value, "--mtu", "1400"]);
      expect(done.exitCode).toBe(2);
      expect(done.stderr).toContain(`${flag} cannot change while the node is up: run \`wg-cni down\` first`);
    }
    expect(hostFacts(n1)).toEqual(before);
    await wgMust(n1, ["up", "--mtu", "1400"]);
    expect(n1.must(["ip", "link", "show", "wgb"])).toContain("mtu 1400");
    await wgMust(n1, ["down"]);
    expect(hostFacts(n1)).toEqual(untouched);
  });
});
