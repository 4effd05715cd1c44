// The lab proves itself with Debian's reference plugins alone: pods on three
// nodes talk, across nodes in plaintext, and the capture says so.

import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Capture } from "./capture.ts";
import { Lab } from "./lab.ts";
import type { Node } from "./node.ts";
import { repository } from "./paths.ts";
import type { Pod } from "./pod.ts";
import { type ConfList, readConfList, withoutPlugin } from "./runtime.ts";
import { http, ping } from "./traffic.ts";
import { waitUntil } from "./wait.ts";
import { withLab } from "./with-lab.ts";

const missing = whatIsMissing();
if (missing && process.env["REQUIRE_KERNEL"] === "1") throw new Error(`The lab cannot run: ${missing}`);
if (missing) console.log(`skipped: the lab cannot run: ${missing}`);

/** The lab is made of dozens of processes. */
setDefaultTimeout(60_000);

const secret = "a sentence nobody else should read";

describe.skipIf(missing !== undefined)("lab with reference plugins", () => {
  const lists: Record<string, ConfList> = {
    n1: withoutPlugin(readConfList(`${repository}/conf/10-ptp.conflist`), "wg-cni"),
    n2: withoutPlugin(readConfList(`${repository}/conf/10-bridge.conflist`), "wg-cni"),
  };
  const lab = withLab("test");
  let n1: Node;
  let n2: Node;
  let a: Pod;
  let b: Pod;
  let c: Pod;
  let capture: Capture;

  beforeAll(async () => {
    n1 = await lab.node("n1", node(1));
    n2 = await lab.node("n2", node(2));
    a = n1.pod("a");
    b = n1.pod("b");
    c = n2.pod("c");
    for (const pod of [a, b, c]) await pod.node.runtime.add(lists[pod.node.name] as ConfList, pod);
    await Promise.all([a, b, c].map((pod) => pod.serveHttp(secret)));
    await n2.serveHttp("host");
    capture = await lab.capture();
  });
  test("ADD gives both families and CHECK agrees", async () => {
    expect(a.ip(4)).toStartWith("10.244.1.");
    expect(c.ip(6)).toStartWith("fd00:10:244:2::");
    for (const pod of [a, c]) await pod.node.runtime.check(lists[pod.node.name] as ConfList, pod);
  });

  test.each([4, 6] as const)("every path answers over IPv%i", async (family) => {
    const hostIp = n2.ip(family) as string;
    for (const [from, ip] of [
      [a, b.ip(family)],
      [a, c.ip(family)],
      [c, a.ip(family)],
      [n1, c.ip(family)],
      [a, hostIp],
    ] as const) {
      expect(await ping(from, ip)).toMatchObject({ sent: 3, received: 3 });
      expect(await http(from, ip)).toMatchObject({ ok: true });
    }
  });

  test("an address of no host gives a result, not an error", async () => {
    expect(await ping(a, "10.244.2.250", { count: 1 })).toMatchObject({ sent: 1, received: 0 });
    expect((await http(a, "10.244.2.250", 1)).ok).toBe(false);
  });

  test("an answer that comes late is not lost", async () => {
    // The first answer spends the tokens of the queue, and the second one waits for new ones.
    const delay = "root tbf rate 64kbit burst 1600 limit 100000";
    n2.must(["tc", "qdisc", "add", "dev", "eth0", ...delay.split(" ")]);
    const { received, averageMs } = await ping(n1, n2.options.ip4, { count: 2, size: 1400 });
    n2.must(["tc", "qdisc", "delete", "dev", "eth0", "root"]);
    expect(received).toBe(2);
    expect(averageMs).toBeGreaterThan(50);
  });

  test("the capture sees pod traffic in plaintext, and none of the same node's", async () => {
    const { packets } = await capture.tally();
    expect(packets.plaintext).toBeGreaterThan(40);
    expect(packets).toMatchObject({ wireguard: 0, other: 0 });
    expect(await capture.readable(secret)).toBeGreaterThanOrEqual(4);
    const pairs = (await capture.packetsOf("plaintext")).map(
      ({ source, destination }) => `${source} ${destination}`,
    );
    expect(pairs).toContain(`${a.ip(4)} ${c.ip(4)}`);
    expect(pairs).toContain(`${n1.ip(6)} ${c.ip(6)}`);
    expect(pairs).not.toContain(`${a.ip(4)} ${b.ip(4)}`);
  });

  test("traffic on the WireGuard ports is of its own kind", async () => {
    n1.must(["bash", "-c", `echo >/dev/udp/${n2.ip(4)}/51820; echo >/dev/udp/${n2.ip(4)}/9`]);
    expect((await capture.packetsOf("wireguard")).length).toBeGreaterThan(0);
    expect((await capture.packetsOf("host")).length).toBeGreaterThan(0);
  });

  test("DEL takes the interface away and may be repeated", async () => {
    await n1.runtime.del(lists["n1"] as ConfList, b);
    await n1.runtime.del(lists["n1"] as ConfList, b);
    expect(b.exec(["ip", "link", "show", "eth0"]).exitCode).not.toBe(0);
    b.remove();
    expect(n1.pods).toEqual([a]);
  });

  test("with strict reverse paths a node drops what came the wrong way, and counts it", async () => {
    // To node 1 this address is behind loopback, but node 2 sends from it.
    n1.must(["ip", "route", "add", "198.51.100.1/32", "dev", "lo"]);
    n2.must(["ip", "address", "add", "198.51.100.1/32", "dev", "lo"]);
    const dropped = () => Number(/\d+/.exec(nstat("TcpExtIPReversePathFilter"))?.[0]);
    const arrived = () => Number(/\d+/.exec(nstat("IcmpInEchos"))?.[0]);
    const nstat = (name: string) => n1.must(["nstat", "-asz", name]).split(name)[1] ?? "";
    const spoof = () => n2.run(["ping", "-c", "1", "-W", "1", "-I", "198.51.100.1", n1.options.ip4]);
    const before = arrived();
    await spoof();
    expect([arrived() - before, dropped()]).toEqual([1, 0]);
    n1.strictReversePath();
    await spoof();
    expect([arrived() - before, dropped()]).toEqual([1, 1]);
    expect(await ping(n2, n1.options.ip4)).toMatchObject({ received: 3 });
  });

  test("what is in the shared directory is there for every node, and goes with the lab", async () => {
    const other = await Lab.create("shared");
    const nodes = [await other.node("n1", node(1)), await other.node("n2", node(2))];
    const file = `${other.sharedDirectory}/records/n1.json`;
    nodes[0]?.script([`mkdir -p ${other.sharedDirectory}/records`, `echo record >${file}`]);
    expect(nodes[1]?.must(["cat", file])).toBe("record\n");
    expect(readFileSync(file, "utf8")).toBe("record\n");
    other[Symbol.dispose]();
    expect(existsSync(other.sharedDirectory)).toBe(false);
  });

  test("a failing plugin is an error with its code", async () => {
    const broken = { ...(lists["n1"] as ConfList), plugins: [{ type: "ptp", ipam: { type: "host-local" } }] };
    await expect(n1.runtime.add(broken, n1.pod("broken"))).rejects.toMatchObject({
      verb: "ADD",
      type: "ptp",
    });
  });

  test("directories of nodes are their own, and nothing shows on the machine", () => {
    expect(existsSync(n1.outsidePath("/var/lib/cni"))).toBe(true);
    expect(existsSync("/run/netns/a")).toBe(false);
    expect(n1.must(["hostname"]).trim()).toBe("n1");
    expect(readdirSync(n1.outsidePath("/run/netns")).sort()).toEqual(["a", "broken"]);
  });

  test("a killed test process takes its lab along", async () => {
    const script = `
      import { Lab } from "${repository}/test/lab/lab.ts";
      const lab = await Lab.create("killed");
      const node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
      node.start(["sleep", "60"]);
      console.log(node.pid, lab.sharedDirectory);
      await Bun.sleep(60_000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    const { value } = await child.stdout.getReader().read();
    const [pid, directory] = new TextDecoder().decode(value).trim().split(" ");
    const left = [`/proc/${pid}`, directory as string];
    expect(left.map((path) => existsSync(path))).toEqual([true, true]);
    child.kill("SIGKILL");
    await waitUntil(() => !left.some((path) => existsSync(path)), { what: "the end of the lab" });
  });

  test("the end of a lab ends what runs in it", async () => {
    const other = await Lab.create("short");
    const node = await other.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    const sleep = node.start(["sleep", "60"]);
    other[Symbol.dispose]();
    expect((await sleep.finished).exitCode).not.toBe(0);
    expect(existsSync(`/proc/${node.pid}`)).toBe(false);
  });
});

function node(index: number) {
  return {
    ip4: `192.0.2.${index}`,
    ip6: `2001:db8::${index}`,
    podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`],
  };
}

function whatIsMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const tools = [
    "unshare",
    "nsenter",
    "ip",
    "nstat",
    "tcpdump",
    "ping",
    "busybox",
    "/usr/lib/cni/ptp",
    "/usr/lib/cni/bridge",
  ];
  const absent = tools.filter((tool) => !Bun.which(tool) && !existsSync(tool));
  return absent.length > 0 ? `${absent.join(", ")} missing` : undefined;
}
