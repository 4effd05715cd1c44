// Somebody was first at boot. A port or a device name that another program has by
// then costs the slot that it belongs to and nothing else; rules, routes and tables
// of others cost nothing. Each case begins with a node that is rebooted while its
// peer runs on; the control is the same boot without anybody in the way.
import { beforeAll, expect, test } from "bun:test";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { wgJson } from "../support/mesh-reference.ts";
import { holdPorts, lastingSealKey, RebootContext } from "./support/reboot.ts";

/** A boot, a few handshakes and 28 probes; a slot is looked at again every 5 s. */
const testMs = 180_000;

interface Status {
  readonly faults: readonly { readonly slot: string; readonly reason: string }[];
  readonly pending: readonly string[];
}

for (const mode of ["permissive", "strict"] as const)
  describeKernel(`a boot in ${mode} mode`, () => {
    const lab = withLab("reboot");
    let context: RebootContext;
    beforeAll(async () => {
      context = await RebootContext.create(lab, { mode, sealKey: lastingSealKey });
    }, testMs);

    const announces = (a: string, b: string) =>
      waitUntil(() => JSON.stringify(context.announced()) === JSON.stringify({ a, b }), {
        what: () => `the record says ${a} and ${b}; it says ${JSON.stringify(context.announced())}`,
      });
    const works = async (name: string) => {
      await context.addPod(name);
      await context.answersEverywhere();
      expect(await context.readable()).toBe(0);
    };

    test(
      "with nothing in the way (control)",
      async () => {
        await context.reboot();
        await announces("active", "active");
        await works("control");
      },
      testMs,
    );

    test.each([
      ["a", 51820, { a: "withdrawn", b: "active" }],
      ["b", 51821, { a: "active", b: "withdrawn" }],
    ] as const)(
      "where another process has the port of slot %s, the other one carries all",
      async (slot, port, states) => {
        let holder = { stop: async (_: "SIGKILL") => ({}) as unknown };
        await context.reboot(async (node) => {
          holder = await holdPorts(node, [port]);
        });
        await announces(states.a, states.b);
        await works(`port-${slot}`);
        const { faults, pending } = await wgJson<Status>(context.n1, ["status"]);
        expect(faults.map((fault) => fault.slot)).toEqual([slot]);
        expect(pending).toEqual([]);
        expect(await wgJson(context.n1, ["sync"])).toMatchObject({ writes: 0, failures: [] });
        const { level, details = [] } = (await context.finding("slots")) ?? {};
        expect(level).toBe("warn");
        // The text names the process and its number.
        expect(details.join()).toMatch(new RegExp(`${port}.*bun.*process \\d+`));
        await holder.stop("SIGKILL");
        await announces("active", "active");
        await context.answersEverywhere();
        expect(await context.readable()).toBe(0);
        expect((await wgJson<Status>(context.n1, ["status"])).faults).toEqual([]);
      },
      testMs,
    );

    test(
      "where an interface of another kind has a device's name, it stays as it is, and the other slot carries all",
      async () => {
        await context.reboot((node) =>
          node.script(["ip link add wg-cni-a type bridge", "ip address add 198.51.100.1/24 dev wg-cni-a"]),
        );
        await announces("withdrawn", "active");
        await works("name");
        const link = () => context.n1.must(["ip", "-d", "address", "show", "wg-cni-a"]);
        expect(link()).toContain("bridge");
        expect(link()).toContain("198.51.100.1/24");
        expect(context.n1.must(["nft", "list", "ruleset"])).not.toContain('"wg-cni-a"');
        context.n1.script(["ip link delete wg-cni-a"]);
        await announces("active", "active");
        await context.answersEverywhere();
      },
      testMs,
    );

    test(
      "where others have rules, routes and an nftables table of ours, all of it works, and they are named",
      async () => {
        await context.reboot((node) =>
          node.script([
            "ip rule add priority 98 from 198.51.100.0/24 lookup main",
            "ip rule add priority 100 from 198.51.100.0/24 lookup main",
            "ip -6 rule add priority 99 from 2001:db8:99::/64 lookup main",
            "ip rule add priority 300 fwmark 0x20000000/0x20000000 lookup main",
            "ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main",
            "ip route add 203.0.113.0/24 via 192.0.2.254 table 18099",
            "nft add table inet wg-cni",
            "nft add chain inet wg-cni theirs '{ type filter hook input priority 0; policy accept; }'",
          ]),
        );
        await announces("active", "active");
        await works("rules");
        const rules = context.n1.must(["ip", "rule"]);
        expect(rules).toContain("98:\tfrom 198.51.100.0/24 lookup main");
        expect(rules).toContain("300:\tfrom all fwmark 0x20000000/0x20000000 lookup main");
        const { details = [] } = (await context.finding("conflicts")) ?? {};
        // Those that can take packets of ours, and no others.
        const priorities = details.flatMap((line) => /priority (\d+)/.exec(line)?.[1] ?? []);
        expect(priorities.toSorted()).toEqual(["300", "98", "99"]);
      },
      testMs,
    );

    test(
      "where another process has both ports, nothing of a pod leaves readable in strict mode, and ADD says so",
      async () => {
        let holder = { stop: async (_: "SIGKILL") => ({}) as unknown };
        await context.reboot(async (node) => {
          holder = await holdPorts(node, [51820, 51821]);
        });
        await announces("withdrawn", "withdrawn");
        const add = context.addPod("both").then(
          () => "added",
          () => "refused",
        );
        expect(await add).toBe(mode === "strict" ? "refused" : "added");
        if (mode === "permissive") await context.answersEverywhere();
        else {
          const capture = await lab.capture();
          expect(await ping(context.n1, context.p2.ip(4))).toMatchObject({ received: 0 });
          expect((await capture.tally()).packets.plaintext).toBe(0);
          await capture.stop();
          expect(context.n1.must(["ip", "route", "show", "table", "18099"])).toContain(
            "prohibit 10.244.2.0/24",
          );
        }
        const status = await context.n1.wg(["status", "--json"]);
        expect(status.exitCode).toBe(3);
        expect((JSON.parse(status.stdout) as Status).faults.map(({ slot }) => slot)).toEqual(["a", "b"]);
        await holder.stop("SIGKILL");
        await announces("active", "active");
        await context.addPod("after");
        await context.encryptsEverywhere();
        await context.answersEverywhere();
      },
      testMs,
    );
  });
