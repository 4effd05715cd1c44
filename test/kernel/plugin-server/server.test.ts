// The server's side: it does a call as a plugin process would, for callers of its node and its user
// only, and neither bad callers nor many of them keep it from others.
import { afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { connectUnix } from "../../../src/linux/unix-socket.ts";
import { callLogName, parseCall } from "../../../src/net/call-log.ts";
import { encodeCall } from "../../../src/wire/plugin-call.ts";
import type { Node } from "../../lab/node.ts";
import type { PluginServer } from "../../lab/plugin-server.ts";
import type { Pod } from "../../lab/pod.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, succeed } from "../support/plugin.ts";
import { linkNames, noRows, rows, snapshot } from "../support/reference.ts";
import { Client, socketPath } from "./support.ts";

const conf = {
  ...{ cniVersion: "1.1.0", name: "pods", type: "wg-cni" },
  ipam: { ranges: [[{ subnet: "10.9.0.0/24" }], [{ subnet: "fd00:9::/64" }]] },
};

/** As a bit of CapEff (capabilities(7)). */
const CAP_SYS_NICE = 1n << 23n;

describeKernel("the plugin server", () => {
  const lab = withLab("plugin-server");
  let node: Node;
  let server: PluginServer;
  let pod: Pod;
  let before: string[];
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
    server = await node.servePlugin();
    // The first pod of a node switches on what stays: forwarding.
    const first = node.pod("first");
    await succeed(node, "ADD", conf, first);
    await succeed(node, "DEL", conf, first);
    before = snapshot(node);
  });
  beforeEach(() => {
    pod = node.pod(`p${node.pods.length}`);
  });
  afterEach(async () => {
    await succeed(node, "DEL", conf, pod);
    expect(rows(node)).toEqual(noRows);
    expect(snapshot(node)).toEqual(before);
  });

  test("only its own user reaches it", () => {
    const { mode } = statSync(socketPath(node));
    expect(mode & 0o777).toBe(0o600);
    expect(statSync(node.outsidePath(node.stateDir)).mode & 0o777).toBe(0o700);
  });

  test("its threads go before those of the agent, if that is allowed", () => {
    const mayPrefer = (BigInt(`0x${capabilitiesOf(server.pid)}`) & CAP_SYS_NICE) !== 0n;
    const threads = readdirSync(`/proc/${server.pid}/task`);
    const nice = threads.map((thread) => niceOf(`/proc/${server.pid}/task/${thread}`));
    expect(new Set(nice)).toEqual(new Set([mayPrefer ? -10 : niceOf("/proc/self")]));
  });

  test("it needs no path to the pod's namespace, and records the one that the runtime named", () => {
    using client = new Client(node);
    const own = client.callFor("ADD", conf, pod);
    client.send({ ...own, env: { ...own.env, CNI_NETNS: "/nowhere/pod" } }, pod);
    expect(client.rest()).toMatchObject({ kinds: ["hello", "stdout", "exit"], texts: { exit: "0" } });
    expect(linkNames(pod)).toEqual(["eth0", "lo"]);
    expect(JSON.stringify(rows(node).attachments)).toContain("/nowhere/pod");
  });

  test("a caller of another network namespace does its call itself", () => {
    using client = new Client(node);
    client.send(client.callFor("ADD", conf, pod, { netns: "another" }), pod);
    expect(client.rest().kinds).toEqual(["hello", "declined"]);
  });

  test("so does one whose addresses come from another plugin, or whose store is another", () => {
    for (const other of [{ ipam: { type: "host-local" } }, { stateDir: "/var/lib/other" }]) {
      using client = new Client(node);
      client.send(client.callFor("ADD", { ...conf, ...other }, pod), pod);
      expect(client.rest().kinds).toEqual(["hello", "declined"]);
    }
  });

  test("a call is in the call log, once, before its caller has the answer", () => {
    const path = node.outsidePath(`${node.stateDir}/${callLogName}`);
    const before = readFileSync(path, "utf8");
    using client = new Client(node);
    client.send(client.callFor("ADD", conf, pod), pod);
    while (client.next()?.kind !== "exit");
    const lines = readFileSync(path, "utf8").slice(before.length).trimEnd().split("\n");
    expect(lines.map(parseCall)).toEqual([{ verb: "ADD", durationMs: expect.any(Number) }]);
  });

  test("a caller that is gone before the answer leaves no pod behind", async () => {
    {
      using client = new Client(node);
      client.send(client.callFor("ADD", conf, pod), pod);
    }
    // The next call is done after it.
    await succeed(node, "STATUS", conf);
    await waitUntil(() => rows(node).attachments.length === 0, { what: "the pod of nobody to end" });
    expect(linkNames(pod)).toEqual(["lo"]);
  });

  test.each([
    ["no request", new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
    ["a request of 4 GB", new Uint8Array(8).fill(255)],
    ["a head that is no JSON", Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3)],
    ["a head that is null", Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode("null"))],
    [
      "a head without an environment",
      Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode("{}")),
    ],
  ])("%s ends the connection, and the server goes on", async (_, bytes) => {
    using client = new Client(node);
    expect(client.next()?.kind).toBe("hello");
    client.socket.send(bytes);
    expect(client.next()).toBeUndefined();
    await succeed(node, "ADD", conf, pod);
  });

  test("a slow caller keeps no other waiting", async () => {
    using slow = new Client(node);
    const bytes = encodeCall(slow.callFor("ADD", conf, pod));
    slow.socket.send(bytes.subarray(0, 5));
    const other = node.pod("other");
    await succeed(node, "ADD", conf, other);
    slow.socket.send(bytes.subarray(5, bytes.length - 1));
    await succeed(node, "DEL", conf, other);
    slow.send({ ...slow.callFor("ADD", conf, pod) }, pod);
    // More bytes than the lengths have said are no request.
    expect(slow.rest().kinds).toEqual(["hello"]);
  });

  test("700 idle connections keep no caller waiting for long", async () => {
    const idle = Array.from({ length: 700 }, () => connectUnix(socketPath(node), 20));
    await succeed(node, "ADD", conf, pod);
    for (const socket of idle) socket[Symbol.dispose]();
    await succeed(node, "DEL", conf, pod);
    await succeed(node, "ADD", conf, pod);
  });

  test("a store that is replaced is followed", async () => {
    await succeed(node, "ADD", conf, pod);
    node.script([`cd ${node.stateDir}`, "mkdir old", "mv state.db* old/"]);
    const other = node.pod("later");
    await succeed(node, "ADD", { ...conf, ipam: { ranges: [[{ subnet: "10.10.0.0/24" }]] } }, other);
    expect(JSON.stringify(rows(node).attachments)).not.toContain(pod.containerID);
    await succeed(node, "DEL", conf, other);
    node.script([`cd ${node.stateDir}`, "rm -f state.db*", "mv old/* .", "rmdir old"]);
    expect(JSON.stringify(rows(node).attachments)).toContain(pod.containerID);
  });

  test("it keeps nothing open of a call", async () => {
    const open = () => readdirSync(`/proc/${server.pid}/fd`).length;
    for (let i = 0; i < 3; i++) await succeed(node, i % 2 === 0 ? "ADD" : "DEL", conf, pod);
    const few = open();
    for (let i = 0; i < 20; i++) {
      await succeed(node, "DEL", conf, pod);
      await succeed(node, "ADD", conf, pod);
      await call(node, "CHECK", conf, pod);
    }
    expect(open()).toBeLessThanOrEqual(few);
  });

  test("pods that end at once leave nothing, and others stay", async () => {
    const pods = Array.from({ length: 20 }, (_, i) => node.pod(`many${i}`));
    await Promise.all([...pods, pod].map((one) => succeed(node, "ADD", conf, one)));
    // The calls wait in their connections, so the server finds all of them at once.
    server.pause();
    const clients = pods.map(() => new Client(node));
    clients.forEach((client, i) => {
      const one = pods[i] as Pod;
      client.send(client.callFor("DEL", conf, one), one);
    });
    server.resume();
    for (const client of clients) {
      expect(client.rest().texts["exit"]).toBe("0");
      client[Symbol.dispose]();
    }
    expect(rows(node).attachments).toHaveLength(1);
    expect(linkNames(pod)).toEqual(["eth0", "lo"]);
    for (const one of pods) expect(linkNames(one)).toEqual(["lo"]);
  });

  test("it ends with the agent, and takes its socket along", async () => {
    expect(await server.stop()).toMatchObject({ exitCode: 0 });
    expect(existsSync(socketPath(node))).toBe(false);
    expect(existsSync(node.outsidePath(`${node.stateDir}/plugin.rehearsal`))).toBe(false);
  });
});

function capabilitiesOf(pid: number): string {
  return /^CapEff:\s+(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
}

/** Of a process, or of a thread (proc_pid_stat(5), field 19). */
function niceOf(directory: string): number {
  const stat = readFileSync(`${directory}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
}
