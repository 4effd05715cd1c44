// DEL while the store cannot be used. libcni stops a chain at the first DEL that fails, so
// the plugin that made the pod never gives its address back, and an eviction that should
// free the disk cannot finish. Each fault is shown to be one: ADD fails with its code.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { holdLock } from "../../lab/held-lock.ts";
import type { Running } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import type { ConfList } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { call, refuse, succeed } from "../support/plugin.ts";
import { linkNames, noRows, rows, throwRoutes } from "../support/reference.ts";

const stateDir = "/var/lib/wg-cni";
const database = `${stateDir}/state.db`;
/** The directory in which host-local has a file for each address that is taken. */
const addressFiles = "/var/lib/cni/networks/pods";

const chained: ConfList = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [
    {
      type: "ptp",
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.244.1.0/24" }], [{ subnet: "fd00:10:244:1::/64" }]],
      },
    },
    { type: "wg-cni" },
  ],
};

const standalone = {
  ...{ type: "wg-cni", name: "own", cniVersion: "1.0.0" },
  ipam: { ranges: [[{ subnet: "10.245.1.0/24" }]] },
};

/** Shell lines that have SQLite run a statement on the store, and leave no log beside it. */
const sqlite = (statement: string) => {
  const program = `import { Database } from "bun:sqlite";
    const db = new Database("${database}");
    db.run("${statement}");
    db.run("PRAGMA wal_checkpoint(TRUNCATE)");`;
  return `'${process.execPath}' -e '${program}'; rm -f ${database}-wal ${database}-shm`;
};
const becomeNewer = sqlite("PRAGMA user_version = 999");

interface Fault {
  readonly name: string;
  readonly make: readonly string[];
  readonly mend: readonly string[];
  readonly addCode: number;
  /** True if the store's directory still takes a line for plugin.log. */
  readonly logs: boolean;
  /** True if what was recorded is lost for good. */
  readonly loses?: true;
}

const saved = "/run/saved-state.db";
const restore = [`rm -f ${database}-wal ${database}-shm`, `cp ${saved} ${database}`];
const faults: readonly Fault[] = [
  {
    name: "of a newer version",
    make: [sqlite("SELECT 1"), `cp ${database} ${saved}`, becomeNewer],
    mend: restore,
    ...{ addCode: 5, logs: true },
  },
  {
    name: "damaged",
    make: [
      sqlite("SELECT 1"),
      `cp ${database} ${saved}`,
      `head -c 4096 /dev/urandom | dd of=${database} conv=notrunc 2>/dev/null`,
    ],
    mend: restore,
    ...{ addCode: 5, logs: true },
  },
  {
    name: "on a full disk",
    make: [`dd if=/dev/zero of=${stateDir}/filler bs=4k 2>/dev/null || true`],
    mend: [`rm ${stateDir}/filler`],
    ...{ addCode: 5, logs: false },
  },
  {
    name: "read-only",
    make: [`mount -o remount,ro ${stateDir}`],
    mend: [`mount -o remount,rw ${stateDir}`],
    ...{ addCode: 5, logs: false },
  },
  {
    name: "gone, with a file in the directory's place",
    make: [`umount ${stateDir}`, `rmdir ${stateDir}`, `touch ${stateDir}`],
    mend: [`rm ${stateDir}`, `mkdir ${stateDir}`, `mount -t tmpfs -o size=1m tmpfs ${stateDir}`],
    ...{ addCode: 5, logs: false, loses: true },
  },
];

describeKernel("DEL with an unusable store", () => {
  const lab = withLab("unreadable");
  let node: Node;
  let pod: Pod;
  let count = 0;
  let holder: Running | undefined;

  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
  });
  beforeEach(() => {
    // A file system of its own that is soon full.
    node.script([`mkdir -p ${stateDir}`, `mount -t tmpfs -o size=1m tmpfs ${stateDir}`]);
    pod = node.pod(`p${++count}`);
  });
  afterEach(async () => {
    await holder?.stop("SIGKILL");
    holder = undefined;
    removeByHand(pod);
    node.exec(["umount", stateDir]);
    node.script([`rm -rf ${stateDir} /var/lib/cni`]);
  });

  const addresses = () => node.exec(["ls", addressFiles]).stdout.match(/^(10\.|fd00:)\S+/gm) ?? [];
  const conf = (more: object = {}) => ({ type: "wg-cni", name: "pods", cniVersion: "1.0.0", ...more });

  async function expectAddToFail(code: number): Promise<void> {
    const other = node.pod(`other${count}`);
    const prevResult = attachByHand(other, "1.0.0", {
      hostDev: `veth-o${count}`,
      ips: [{ address: "10.9.0.9/32" }],
    });
    expect(await refuse(node, "ADD", conf({ prevResult }), other)).toMatchObject({ code });
    removeByHand(other);
  }

  test("control: a usable one is left without a row, an address or a route", async () => {
    await node.runtime.add(chained, pod);
    expect([addresses().length, throwRoutes(node).length, rows(node).attachments.length]).toEqual([2, 2, 1]);
    await node.runtime.del(chained, pod);
    expect([addresses(), throwRoutes(node), rows(node)]).toEqual([[], [], noRows]);
  });

  describe.each(faults)("$name", ({ make, mend, addCode, logs, loses }) => {
    test("a chained one warns, and the chain gives the pod's addresses back", async () => {
      await node.runtime.add(chained, pod);
      node.script(make);
      await expectAddToFail(addCode);
      const { stderr } = await succeed(node, "DEL", conf(), pod);
      expect(stderr).toContain(database);
      await node.runtime.del(chained, pod);
      expect([addresses(), throwRoutes(node)]).toEqual([[], []]);
      if (logs)
        expect(node.must(["cat", `${stateDir}/plugin.log`])).toMatch(/ DEL pods .*: warning: The store/);
      node.script(mend);
      if (!loses) expect(rows(node).attachments).toHaveLength(1);
      await succeed(node, "DEL", conf(), pod);
      expect([throwRoutes(node), rows(node)]).toEqual([[], noRows]);
    });

    test("a main plugin's takes the pod off the node, and its address stays taken", async () => {
      const first = (await succeed(node, "ADD", standalone, pod)).json.ips?.[0]?.address;
      node.script(make);
      await expectAddToFail(addCode);
      await succeed(node, "DEL", standalone, pod);
      expect([linkNames(pod), throwRoutes(node)]).toEqual([["lo"], []]);
      node.script(mend);
      if (loses) return;
      const next = node.pod(`next${count}`);
      const second = (await succeed(node, "ADD", standalone, next)).json.ips?.[0]?.address;
      expect(second).not.toBe(first as string);
      await succeed(node, "DEL", standalone, next);
      expect(rows(node).leases).toHaveLength(1);
      await succeed(node, "DEL", standalone, pod);
      expect(rows(node)).toEqual(noRows);
      next.remove();
    });
  });

  test("a chained one waits no longer than the lock's timeout for a lock that is never released", async () => {
    await node.runtime.add(chained, pod);
    holder = await holdLock(node, `${stateDir}/write.lock`);
    await expectAddToFail(11);
    await node.runtime.del(chained, pod);
    expect([addresses(), throwRoutes(node)]).toEqual([[], []]);
    await holder.stop("SIGKILL");
    expect(rows(node).attachments).toHaveLength(1);
    // GC is told what is valid, which this pod no longer is.
    const gc = { ...conf(), cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
    await succeed(node, "GC", gc);
    expect(rows(node)).toEqual(noRows);
  });

  describe("without a record", () => {
    const ips = [{ address: "10.9.0.5/32" }, { address: "fd00:9::5/128" }];
    const throws = ["10.9.0.5", "fd00:9::5"];
    const newer = () => node.script([becomeNewer]);
    const attach = async (to: Pod) => {
      const prevResult = attachByHand(to, "1.0.0", { hostDev: `veth-${to.name}`, ips });
      await succeed(node, "ADD", conf({ prevResult }), to);
      return prevResult;
    };

    test("the pod's namespace tells its addresses to a runtime that passes no result", async () => {
      await attach(pod);
      newer();
      await succeed(node, "DEL", conf(), pod);
      expect(throwRoutes(node)).toEqual([]);
    });

    test("prevResult tells them when the namespace and the pod's routes are gone", async () => {
      const prevResult = await attach(pod);
      removeByHand(pod);
      newer();
      await succeed(node, "DEL", conf(), pod);
      expect(throwRoutes(node)).toEqual(throws);
      await succeed(node, "DEL", conf({ prevResult }), pod);
      expect(throwRoutes(node)).toEqual([]);
    });

    test("a stale pod's result takes no route from the live pod that has its address now", async () => {
      const prevResult = await attach(pod);
      removeByHand(pod);
      const live = node.pod(`live${count}`);
      await attach(live);
      newer();
      await succeed(node, "DEL", conf({ prevResult }), pod);
      expect(throwRoutes(node)).toEqual(throws);
      await succeed(node, "DEL", conf({ prevResult }), live);
      expect(throwRoutes(node)).toEqual([]);
      removeByHand(live);
    });

    test("addresses of another pod that a pod has given itself take no route from that pod", async () => {
      await attach(pod);
      const thief = node.pod(`thief${count}`);
      attachByHand(thief, "1.0.0", { hostDev: `veth-${thief.name}`, ips: [{ address: "10.9.0.6/32" }] });
      newer();
      for (const replaced of [false, true]) {
        // With an interface of its own making, whose other end is not on the node, too.
        if (replaced)
          thief.script(["ip link delete eth0", "ip link add eth0 type bridge", "ip link set eth0 up"]);
        thief.script(ips.map(({ address }) => `ip address add ${address} dev eth0`));
        await succeed(node, "DEL", conf(), thief);
        expect(throwRoutes(node)).toEqual(throws);
      }
      removeByHand(thief);
    });

    test("the node's own namespace is no pod's", async () => {
      await attach(pod);
      newer();
      node.script(["ip route add throw 192.0.2.1 table 18099 proto 118"]);
      const { json } = await call(node, "DEL", conf(), pod, { env: { CNI_NETNS: "/proc/self/ns/net" } });
      expect(json.code).toBe(8);
      expect(throwRoutes(node)).toContain("192.0.2.1");
      node.script(["ip route del throw 192.0.2.1 table 18099"]);
    });

    test("routes of other processes of the same kind stay", async () => {
      await attach(pod);
      newer();
      node.script(["ip route add throw 10.9.0.5 table 77 proto static"]);
      await succeed(node, "DEL", conf(), pod);
      expect(throwRoutes(node)).toEqual([]);
      expect(node.must(["ip", "route", "show", "table", "77"])).toContain("throw 10.9.0.5");
      node.script(["ip route flush table 77"]);
    });

    test("GC says that it could not look", async () => {
      await attach(pod);
      newer();
      const gc = { ...conf(), cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
      expect(await refuse(node, "GC", gc)).toMatchObject({ code: 5 });
      expect(throwRoutes(node)).toEqual(throws);
    });
  });

  test("tables of other numbers are recognised by the rules that lead to them", async () => {
    const other = ["--route-protocol", "200", "--pod-table", "7001", "--host-table", "7000"];
    const up = [...node.upArguments, "--pod-cidr", "10.9.0.0/24", "--backend", "userspace", ...other];
    const done = await node.wg(["up", ...up]);
    expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
    const prevResult = attachByHand(pod, "1.0.0", {
      hostDev: `veth-${pod.name}`,
      ips: [{ address: "10.9.0.5/32" }],
    });
    await succeed(node, "ADD", conf({ prevResult }), pod);
    const table = () => node.must(["ip", "route", "show", "table", "7001"]);
    expect(table()).toContain("throw 10.9.0.5");
    node.script([sqlite("SELECT 1"), `cp ${database} ${saved}`, becomeNewer]);
    await succeed(node, "DEL", conf(), pod);
    expect(table()).not.toContain("throw 10.9.0.5");
    node.script(restore);
    await succeed(node, "DEL", conf(), pod);
    expect((await node.wg(["down"])).exitCode).toBe(0);
  });
}, ["flock", "wireguard-go"]);
