// Faults around the agent: its store is locked or full, the kernel's
// events overrun it, a program it needs is missing, a directory cannot be written.
// It stays, says so in one line, keeps the kernel as it was told before, and
// goes on when it has passed.
import { beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent, LogLine } from "../../lab/agent.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Running } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, routeLines, tables, wgJson, wgMust } from "../support/mesh-reference.ts";

const state = "/var/lib/wg-cni";
/** Of the state's filesystem, in the test that fills it. */
const smallBytes = "2m";
/** Longer than SQLite waits for a lock (5 s), twice, with the pauses between two tries. */
const lockedMs = 16_000;
/** A look comes at least every 60 s; what must not wait for that is there before. */
const soonMs = 25_000;
/** Each is a message to the agent's event socket, which has room for about twenty thousand. */
const floodRoutes = 40_000;

describeKernel("an agent meets faults", () => {
  setDefaultTimeout(180_000);
  const lab = withLab("faults");
  let n1: Node;
  let n2: Node;
  let agent: Agent;
  let from = 0;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    n1.script([`mkdir -p ${state}`, `mount -t tmpfs -o size=${smallBytes},mode=0700 tmpfs ${state}`]);
    await joinMesh([n1, n2]);
    agent = await n1.agent({ args: ["--log-level", "debug"] });
  });
  beforeEach(() => {
    from = agent.lines().length;
  });
  const since = () => agent.lines().slice(from);
  /** Without the lines about repairs, which name the first command. */
  const problems = () =>
    since().filter(
      ({ level, first }: LogLine) => (level === "error" || level === "warn") && first === undefined,
    );
  const peerRoute = () =>
    routeLines(n1, 4, tables.pods)
      .filter((line) => line.includes("10.244.2.0/24"))
      .join();
  /** In plaintext again, by an operator; then only a new handshake opens it, which the agent has to put down. */
  const closeGate = async () => {
    await waitUntil(() => peerRoute().includes("dev wg-cni-"), {
      what: "the gate is open",
      timeoutMs: 60_000,
    });
    // Nobody answers until `newSession`, or the gate may open before anything is in its way.
    n2.script([
      "nft add table inet deaf",
      "nft 'add chain inet deaf input { type filter hook prerouting priority -400; }'",
      "nft add rule inet deaf input udp dport { 51820, 51821 } drop",
    ]);
    await wgMust(n1, ["peer", "release", "n2"]);
    await waitUntil(() => peerRoute().startsWith("throw"), { what: "the gate is closed" });
  };
  const repairs = async (what: string) => {
    n1.must(["ip", "route", "add", "10.99.0.0/16", "dev", "eth0", "table", String(tables.pods)]);
    const gone = () => !routeLines(n1, 4, tables.pods).join().includes("10.99.0.0/16");
    await waitUntil(gone, { what: `a foreign route is removed ${what}`, timeoutMs: soonMs });
  };
  /** The devices forget each other, so that they perform a new handshake. */
  const newSession = async () => {
    n2.exec(["nft", "delete", "table", "inet", "deaf"]);
    const { slots } = await wgJson<NodeRecord>(n2, ["node", "show"]);
    for (const [index, dev] of devices.entries())
      n1.must(["wg", "set", dev, "peer", slots[index]!.publicKey, "remove"]);
  };

  test("a locked store: what needs no writing is done, the rest once it is unlocked", async () => {
    await closeGate();
    const holder = hold(n1);
    await holder.saidOnStderr("locked");
    await newSession();
    await Bun.sleep(lockedMs);
    await repairs("while the store is locked");
    expect(problems().map(({ message }) => message)).toEqual([
      expect.stringContaining("another process keeps it locked"),
    ]);
    await holder.stop("SIGKILL");
    await agent.waitFor("resolved: ", soonMs, from);
    await waitUntil(() => peerRoute().includes("dev wg-cni-"), { what: "the gate opens", timeoutMs: soonMs });
    expect(problems()).toHaveLength(1);
  });

  test("a full disk: as a locked store", async () => {
    await closeGate();
    n1.exec(["dd", "if=/dev/zero", `of=${state}/filler`, "bs=4k"]);
    await newSession();
    const full = await agent.waitFor("no space is left on its filesystem", soonMs, from);
    await repairs("while the disk is full");
    await Bun.sleep(lockedMs / 2);
    expect(problems()).toEqual([full]);
    n1.must(["rm", `${state}/filler`]);
    await agent.waitFor("resolved: ", soonMs, from);
    await waitUntil(() => peerRoute().includes("dev wg-cni-"), { what: "the gate opens", timeoutMs: soonMs });
    expect(problems()).toHaveLength(1);
  });

  test("a store that is another file: neither ready nor alive, until the file is back", async () => {
    const probe = async (what: string) => {
      const { exitCode, stdout } = await n1.wg(["probe", what]);
      return { exitCode, isAboutStore: stdout.includes(`${state}/state.db was re`) };
    };
    for (const [deed, undo] of [
      [`mv ${state}/state.db ${state}/kept.db`, `mv ${state}/kept.db ${state}/state.db`],
      [
        `mv ${state}/state.db ${state}/kept.db; cp ${state}/kept.db ${state}/state.db`,
        `mv ${state}/kept.db ${state}/state.db`,
      ],
    ] as const) {
      from = agent.lines().length;
      n1.script([deed]);
      const said = await agent.waitFor(`${state}/state.db was re`, soonMs, from);
      expect(said.level).toBe("error");
      await repairs("without the file");
      for (const what of ["ready", "live"])
        expect(await probe(what)).toEqual({ exitCode: 3, isAboutStore: true });
      expect(problems()).toEqual([said]);
      n1.script([undo]);
      await agent.waitFor("resolved: ", soonMs, from);
      expect((await probe("live")).exitCode).toBe(0);
    }
  });

  test("events overrun the agent: it looks at everything, and what went meanwhile is back", async () => {
    agent.freeze();
    const flood = ["add", "delete"].flatMap((verb) =>
      Array.from(
        { length: floodRoutes / 2 },
        (_, i) => `route ${verb} unreachable 198.19.${i >> 8}.${i & 255}/32`,
      ),
    );
    n1.must(["ip", "-batch", "-"], { stdin: `${flood.join("\n")}\n` });
    // Nobody will hear of this one.
    n1.must(["ip", "route", "delete", "10.244.2.0/24", "table", String(tables.pods)]);
    from = agent.lines().length;
    agent.thaw();
    const lost = await agent.waitFor("events came faster than they were read", soonMs, from);
    expect(lost).toMatchObject({ level: "warn", reason: expect.stringContaining("ENOBUFS") });
    // A poll that is due when the agent goes on may mend the route before.
    const isWhole = ({ message, reason }: LogLine) =>
      message === "reconciled" && String(reason).includes("events lost");
    await agent.waitFor(isWhole, soonMs, from);
    expect(peerRoute()).toContain("dev wg-cni-");
    // The way of the packets may be asked for before the route is back.
    expect(problems().filter(({ peer }) => peer === undefined)).toEqual([lost]);
  });

  test("a peer that is taken off a device by hand is put back, though no event tells of it", async () => {
    const { slots } = await wgJson<NodeRecord>(n2, ["node", "show"]);
    await newSession();
    const isOn = (index: number) =>
      n1.must(["wg", "show", devices[index] as string, "peers"]).includes(slots[index]!.publicKey);
    await waitUntil(() => isOn(0) && isOn(1), { what: "it is on both devices", timeoutMs: soonMs });
  });

  test("a userspace WireGuard that is not there: said once, and used when it is", async () => {
    await agent.stop();
    n1.script(["mkdir -p /run/programs", ...devices.map((dev) => `ip link delete ${dev}`)]);
    agent = await n1.agent({ program: behind("other-path", "export PATH=/run/programs") });
    from = 0;
    await Bun.sleep(lockedMs / 2);
    // Beside the cause, what becomes of the peer's packets.
    expect(problems().filter(({ peer }) => peer === undefined)).toEqual([
      expect.objectContaining({
        message: expect.stringMatching(
          /Cannot start WireGuard device .* is in \/run\/programs; install one of them/,
        ),
      }),
    ]);
    expect(problems().flatMap(({ peer }) => peer ?? [])).toEqual(["n2"]);
    const program = Bun.which("wireguard-go") ?? "/usr/bin/wireguard-go";
    n1.must(["ln", "-s", program, "/run/programs/wireguard-go"]);
    await agent.waitFor("resolved: ", soonMs, from);
    expect(peerRoute()).toContain("dev wg-cni-");
  });

  test("a node that is not up: said once, and no problem; it follows when it is", async () => {
    const n3 = await addNode(lab, 3);
    const early = await n3.agent();
    const said = await early.waitFor("This node has no identity yet");
    expect(said.level).toBe("info");
    await Bun.sleep(lockedMs / 2);
    expect(early.lines().filter(({ message }) => message === said.message)).toHaveLength(1);
    await wgMust(n3, ["up", ...n3.upArguments]);
    await early.waitFor("resolved: ", soonMs);
    n3.must(["ip", "route", "flush", "table", String(tables.pods)]);
    await waitUntil(() => routeLines(n3, 4, tables.pods).length > 0, {
      what: "the agent keeps the node's mesh",
      timeoutMs: soonMs,
    });
    await early.stop();
  });

  test("a node without sysfs: nothing is missed", async () => {
    await agent.stop();
    agent = await n1.agent({ program: behind("no-sysfs", "mount -t tmpfs tmpfs /sys") });
    from = 0;
    await repairs("without sysfs");
    expect(problems()).toEqual([]);
  });

  test("a state that cannot be written at the start: a sentence, and an end that the service manager answers", async () => {
    await agent.stop();
    const readOnly = behind(
      "read-only",
      `mount --bind -o ro ${state} ${state}; mount -o remount,bind,ro ${state}`,
    );
    const ended = await n1.run([readOnly, "agent", "--log-format", "json"]);
    expect(ended.exitCode).toBe(1);
    const lines = ended.stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toEqual([
      expect.objectContaining({
        level: "error",
        message: expect.stringMatching(/^Cannot use the state in .*: it cannot be written .*EROFS.*/),
      }),
    ]);
    agent = await n1.agent();
  });

  /** The agent in a mount namespace of its own, changed by a shell line. */
  const behind = (name: string, line: string) => {
    const path = `/run/${name}`;
    const script = `#!/bin/sh\nexec unshare --mount sh -euc '${line}; exec ${binary} "$@"' sh "$@"\n`;
    n1.must(["sh", "-c", `cat >${path}; chmod 755 ${path}`], { stdin: script });
    return path;
  };
});

/** Another process with a transaction that does not end. */
function hold(node: Node): Running {
  const script = `
    const { Database } = require("bun:sqlite");
    const db = new Database("${state}/state.db");
    db.run("BEGIN IMMEDIATE");
    console.error("locked");
    setInterval(() => {}, 1000);`;
  return node.start([process.execPath, "-e", script], { timeoutMs: 0 });
}
