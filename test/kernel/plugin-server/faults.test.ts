// The real server among faults: it is stopped in the middle of a call, its socket is replaced, its callers are
// many, gone, or of another user. Each call is answered in time, by it or by its own process, and nothing is left.
import { afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connectUnix } from "../../../src/linux/unix-socket.ts";
import { encodeCall } from "../../../src/wire/plugin-call.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { PluginServer } from "../../lab/plugin-server.ts";
import type { Pod } from "../../lab/pod.ts";
import { pluginEnv } from "../../lab/runtime.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, refuse, succeed } from "../support/plugin.ts";
import { linkNames, noRows, rows, snapshot } from "../support/reference.ts";
import { Client, socketPath } from "./support.ts";

const conf = {
  ...{ cniVersion: "1.1.0", name: "pods", type: "wg-cni" },
  ipam: { ranges: [[{ subnet: "10.9.0.0/22" }]] },
};
const nobody = "65534";
/** Of an ADD that gave a pod nothing. */
const noResult = { cniVersion: "1.1.0", interfaces: [], ips: [] };
const scripts = join(repository, "test/kernel/plugin-server");

describeKernel("a plugin server among faults", () => {
  const lab = withLab("server-faults");
  let node: Node;
  let server: PluginServer;
  let build: string;
  let pod: Pod;
  let before: string[];
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    server = await node.servePlugin();
    using client = new Client(node);
    build = client.next()?.text ?? "";
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
    expect(server.hasEnded).toBe(false);
  });

  const inState = (...lines: string[]) => node.script([`cd ${node.stateDir}`, ...lines]);
  /** Its process, as processes of the node see it. */
  const innerPid = () =>
    /^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1] ?? "";

  test("stopped when it has the request: the call fails, to be tried again, and is not begun later", async () => {
    const command = [process.execPath, join(scripts, "ask.ts"), build, innerPid()];
    const { stdout } = await node.run(command, { stdin: JSON.stringify(conf), env: pluginEnv("ADD", pod) });
    server.resume();
    expect(JSON.parse(stdout)).toMatchObject({ exitCode: 1, answer: { code: 11 } });
    // It has come to the call behind that one.
    await succeed(node, "STATUS", conf);
    expect(rows(node)).toEqual(noRows);
    expect(linkNames(pod)).toEqual(["lo"]);
  });

  test.each([
    ["a directory", "mkdir plugin.sock"],
    ["a symbolic link to the socket", "ln -s kept plugin.sock"],
    ["a symbolic link to a terminal", "ln -s /dev/tty plugin.sock"],
    ["a plain file", "echo hello > plugin.sock"],
  ])("its socket is replaced by %s: calls succeed", async (_, make) => {
    inState("mv plugin.sock kept", make);
    try {
      await succeed(node, "ADD", conf, pod);
      expect(rows(node).attachments).toHaveLength(1);
    } finally {
      inState("rm -rf plugin.sock", "mv kept plugin.sock");
    }
  });

  test("300 callers with half a request, and one that sends 10 MB, keep no other waiting", async () => {
    const half = Array.from({ length: 300 }, () => connectUnix(socketPath(node), 20));
    for (const socket of half) socket.send(Uint8Array.of(9, 0, 0));
    using large = new Client(node);
    const bytes = encodeCall({ ...large.callFor("ADD", conf, pod), stdin: new Uint8Array(10_000_000) });
    expect(() => large.socket.send(bytes)).toThrow();
    const { milliseconds } = await succeed(node, "ADD", conf, pod);
    // Half a second is what a call takes that no server takes; a busy machine has ten times as long.
    expect(milliseconds).toBeLessThan(5000);
    for (const socket of half) socket[Symbol.dispose]();
  });

  test("500 callers at once: each has the answer to its own call, and each address is given once", () => {
    const pods = Array.from({ length: 20 }, (_, i) => node.pod(`crowd${i}`));
    const ask = (calls: readonly { verb: "ADD" | "CHECK" | "DEL"; one: Pod; containerID: string }[]) => {
      // All of them are connected before the first is greeted.
      server.pause();
      const callers = calls.map((asked) => ({ ...asked, client: new Client(node) }));
      server.resume();
      for (const { client, verb, one, containerID } of callers) {
        expect(client.next()?.kind).toBe("hello");
        const asked = verb === "CHECK" ? { ...conf, prevResult: noResult } : conf;
        client.send(client.callFor(verb, asked, { ...one, containerID }), one);
      }
      return callers.map(({ client, ...asked }) => {
        using _done = client;
        const { exit, stdout = "{}" } = client.rest().texts;
        return { ...asked, exit, json: JSON.parse(stdout) };
      });
    };
    // A pod that was never made fails its check by name, and costs less than one that is made.
    const asked = Array.from({ length: 500 }, (_, i) => {
      const one = pods[i % pods.length] as Pod;
      return i % 25 === 0
        ? { verb: "ADD" as const, one: pods[i / 25] as Pod, containerID: `made-${i}` }
        : { verb: "CHECK" as const, one, containerID: `unknown-${i}` };
    });
    const answers = ask(asked);
    const made = answers.filter(({ verb }) => verb === "ADD");
    for (const { one, json } of made)
      expect(json.interfaces).toContainEqual(expect.objectContaining({ name: "eth0", sandbox: one.netns }));
    expect(new Set(made.map(({ json }) => json.ips[0].address)).size).toBe(pods.length);
    for (const { containerID, json } of answers.filter(({ verb }) => verb === "CHECK"))
      expect(json).toMatchObject({ code: 104, msg: expect.stringContaining(`container ${containerID} `) });
    const ended = ask(made.map(({ one, containerID }) => ({ verb: "DEL", one, containerID })));
    expect(ended.filter(({ exit }) => exit !== "0")).toEqual([]);
  });

  test("a configuration of 10 MB is refused by its own process", async () => {
    const large = JSON.stringify({ ...conf, padding: "x".repeat(10_000_000) });
    expect(await refuse(node, "ADD", large, pod)).toMatchObject({ code: 5 });
  });

  test("a caller of another user gets no answer", () => {
    inState("ln plugin.sock /var/lib/other.sock", "chmod 666 /var/lib/other.sock");
    try {
      const command = ["setpriv", `--reuid=${nobody}`, "--clear-groups", process.execPath, "-e", connecting];
      expect(node.must([...command, "/var/lib/other.sock"])).toBe("reached\n");
    } finally {
      inState("chmod 600 plugin.sock", "rm /var/lib/other.sock");
    }
  });

  test("a server of another user is not asked", async () => {
    inState("mkdir -m 777 /var/lib/open");
    const command = ["setpriv", `--reuid=${nobody}`, "--clear-groups", process.execPath, "-e", greeting];
    const other = node.start([...command, "/var/lib/open/sock", build], { interactive: true });
    const path = node.outsidePath("/var/lib/open/sock");
    await waitUntil(() => lstatSync(path, { throwIfNoEntry: false }), { what: "the other server" });
    inState("mv plugin.sock kept", "mv /var/lib/open/sock plugin.sock");
    try {
      await succeed(node, "ADD", conf, pod);
      await other.closeInput();
      expect((await other.finished).stdout).toBe("");
    } finally {
      inState("mv kept plugin.sock", "rm -r /var/lib/open");
    }
  });

  test("200 processes at once: each call is answered, each address is given once, and nothing is left", async () => {
    const pods = Array.from({ length: 20 }, (_, i) => node.pod(`many${i}`));
    const interfaces = Array.from({ length: 10 }, (_, i) => ({ ifname: `eth${i}` }));
    // As the main plugin wg-cni makes a pod's only interface, so nine of ten ADDs are refused.
    const all = pods.flatMap((one) => interfaces.map((options) => ({ one, options })));
    const added = await Promise.all(all.map(({ one, options }) => call(node, "ADD", conf, one, options)));
    const ips = added.flatMap(({ json }) => json.ips?.map(({ address }) => address) ?? []);
    expect(ips).toHaveLength(pods.length);
    expect(new Set(ips).size).toBe(pods.length);
    for (const { exitCode, json } of added) if (exitCode !== 0) expect(json.code).toBeGreaterThan(0);
    const ended = await Promise.all(all.map(({ one, options }) => call(node, "DEL", conf, one, options)));
    expect(ended.filter(({ exitCode }) => exitCode !== 0)).toEqual([]);
  });
});

/** Prints whether the socket that is named can be connected to, and what comes from there. */
const connecting = `await Bun.connect({ unix: process.argv.at(-1), socket: {
  open: () => console.log("reached"), data: (_, bytes) => console.log("got", bytes.length) } })
  .catch(({ code }) => console.log(code === "ECONNRESET" ? "reached" : code))`;

/** Greets as the server does, and prints what it is sent, until standard input ends. */
const greeting = `const [path, build] = process.argv.slice(-2);
const hello = Buffer.concat([Buffer.from([0, build.length, 0, 0, 0]), Buffer.from(build)]);
Bun.listen({ unix: path, socket: { open: (socket) => void socket.write(hello), data: (_, bytes) => console.log(bytes.length) } });
await Bun.stdin.text();
process.exit(0)`;
