// The agent as conf/wg-cni-agent.service runs it, under a real systemd in a lab
// node: it can do all its work behind the unit's restrictions, and each of the
// rights that are left to it is needed; the userspace WireGuard that it starts
// outlives it; a look that hangs is ended. Witnesses: ip, nft, /proc, streams.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { holdLock } from "../../lab/held-lock.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Running } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary, repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { eachWay, losses, Streams } from "../../lab/stream.ts";
import { Systemd } from "../../lab/systemd.ts";
import { http, ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices, routeLines, tables } from "../support/mesh-reference.ts";

const unit = "wg-cni-agent.service";
const unitFile = `${repository}/conf/${unit}`;
const installed = "/opt/cni/bin/wg-cni";
const logFile = "/run/agent.log";
const validMark = "/proc/sys/net/ipv4/conf/eth0/src_valid_mark";
const mtu = 1380;
const rights = ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_NICE"] as const;
/** WatchdogSec= for a test; the agent says twice in it that it looks. */
const watchdogSeconds = 6;
/** Neither waits for the watchdog's look, which takes as long as a lock is held. */
const testMs = 120_000;

/** Settings that need a journal, which a lab does not have, or that a machine may withhold (CAP_SYS_RESOURCE). */
const forLab = `[Service]
StandardOutput=append:${logFile}
StandardError=append:${logFile}
OOMScoreAdjust=0
`;

/** Of the machine's fields of /proc/PID/status, hexadecimal. */
function rightsMask(names: readonly string[]): string {
  const numbers: Record<string, number> = {
    ...{ CAP_NET_ADMIN: 12, CAP_SYS_PTRACE: 19, CAP_SYS_ADMIN: 21, CAP_SYS_NICE: 23 },
  };
  return names
    .reduce((mask, name) => mask + 2 ** (numbers[name] as number), 0)
    .toString(16)
    .padStart(16, "0");
}

describeKernel("the agent's service", () => {
  afterAll(() => systemd?.[Symbol.dispose]());
  const lab = withLab("service");
  let n1: Node;
  let n2: Node;
  /** By name in /run/netns, as most runtimes have it. */
  let named: Pod;
  /** By /proc/PID/ns/net of a process of another user. */
  let byProcess: Pod;
  let remote: Pod;
  let systemd: Systemd;
  let holder: Running;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    n1.strictReversePath();
    await joinMesh([n1, n2], ["--mtu", String(mtu)]);
    [named, byProcess, remote] = [n1.pod("named"), n1.pod("process"), n2.pod("remote")];
    const chained = readConfList(`${repository}/conf/10-ptp.conflist`);
    await n1.runtime.add(chained, named);
    await n2.runtime.add(readConfList(`${repository}/conf/10-bridge.conflist`), remote);
    n1.script([
      "mount -t tmpfs tmpfs /opt",
      `mkdir -p ${installed.slice(0, installed.lastIndexOf("/"))}`,
      `cp ${binary} ${installed}`,
    ]);
    systemd = await Systemd.start(n1, {
      [unit]: readFileSync(unitFile, "utf8"),
      [`${unit}.d/10-lab.conf`]: forLab,
    });
    const result = await n1.runtime.add({ ...chained, plugins: chained.plugins.slice(0, 1) }, byProcess);
    holder = systemd.inside.start(
      [
        ...["nsenter", `--net=${byProcess.netns}`],
        ...["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"],
        ...["sh", "-c", "echo pid $$ >&2; sleep 1000"],
      ],
      { timeoutMs: 0, onStderrLine: (line) => addByProcess(line.slice("pid ".length), result) },
    );
    await waitUntil(() => routeLines(n1, 4, tables.pods).some((line) => line.includes(byProcess.ip(4))), {
      what: "the pod that is named by a process is attached",
    });
  });

  const addByProcess = (pid: string, prevResult: unknown) => {
    const config = { cniVersion: "1.0.0", name: "pods", type: "wg-cni", prevResult };
    systemd.inside.must([installed], {
      stdin: JSON.stringify(config),
      env: {
        ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: byProcess.containerID, CNI_IFNAME: "eth0" },
        ...{ CNI_NETNS: `/proc/${pid}/ns/net`, CNI_PATH: "/opt/cni/bin" },
      },
    });
  };
  /** Everything that the agent has to bring back. */
  const damage = () => {
    // Another process would restore it at once.
    systemd.systemctl(["stop", unit]);
    for (const dev of devices) n1.exec(["ip", "link", "delete", dev]);
    n1.script([`echo 0 >${validMark}`, "nft delete table inet wg-cni || true", `: >${logFile}`]);
    for (const pod of [named, byProcess])
      pod.script(["ip route change $(ip route show default | sed 's/ mtu.*//') mtu 1200"]);
  };
  const podMtu = (pod: Pod) => /mtu (\d+)/.exec(pod.must(["ip", "route", "show", "default"]))?.[1];
  const log = () => n1.must(["cat", logFile]);
  const restart = () => systemd.systemctl(["restart", unit]);
  const mainPid = () => systemd.show(unit, "MainPID");
  const daemons = () =>
    systemd.inside.must(["pgrep", "-f", "wireguard-go|boringtun"]).trim().split("\n").sort();
  /** A drop-in of one test. */
  const dropIn = (content: string) => {
    n1.must(["sh", "-c", `cat >/run/units/${unit}.d/20-test.conf`], { stdin: `[Service]\n${content}\n` });
    systemd.systemctl(["daemon-reload"]);
  };

  test(
    "behind its restrictions it makes the mesh, sysctls, nftables, pods' MTU and metrics",
    async () => {
      damage();
      expect(restart()).toMatchObject({ exitCode: 0 });
      // Type=notify: it has looked once.
      expect(systemd.show(unit, "StatusText")).toBe("the mesh is as the store says");
      const status = systemd.inside.must(["cat", `/proc/${mainPid()}/status`]);
      expect(status).toMatch(new RegExp(`CapBnd:\\s${rightsMask(rights)}`));
      expect(status).toMatch(/NoNewPrivs:\s1\n/);
      expect(status).toMatch(/Seccomp:\s2\n/);
      const mounts = systemd.inside.must(["cat", `/proc/${mainPid()}/mounts`]).split("\n");
      expect(mounts.find((line) => line.split(" ")[1] === "/")).toMatch(/ ro,/);
      expect(mounts.find((line) => line.split(" ")[1] === n1.stateDir)).toMatch(/ rw,/);

      expect(n1.must(["cat", validMark])).toBe("1\n");
      expect(n1.must(["nft", "list", "tables"])).toContain("table inet wg-cni");
      for (const dev of devices) expect(n1.must(["ip", "link", "show", dev])).toContain(`mtu ${mtu}`);
      const isEncrypted = () => routeLines(n1, 4, tables.pods).join().includes("10.244.2.0/24 dev wg-cni-");
      await waitUntil(isEncrypted, { what: "a handshake opens the gate" });
      expect([named, byProcess].map(podMtu)).toEqual([`${mtu}`, `${mtu}`]);
      expect(await ping(n1, remote.ip(4))).toMatchObject({ received: 3 });
      const metrics = await http(n1, "127.0.0.1", 10, 9586, "/metrics");
      expect(metrics.text).toContain("wg_cni_ready 1");
      expect(log()).not.toMatch(/ (warn|error) /);
      // It may ask which of the plugin's pages are in memory: here all are.
      expect(log()).not.toContain("page cache");
    },
    testMs,
  );

  test(
    "with any one right less, or one restriction more, something cannot be done, and the log says what",
    async () => {
      const without = (right: string) =>
        `CapabilityBoundingSet=\nCapabilityBoundingSet=${rights.filter((one) => one !== right).join(" ")}`;
      for (const [change, says] of [
        [without("CAP_SYS_PTRACE"), "Cannot open /proc/"],
        [without("CAP_SYS_ADMIN"), `Cannot enter network namespace ${named.netns}: EPERM`],
        [without("CAP_NET_ADMIN"), "EPERM"],
        ["ProtectKernelTunables=yes", "/src_valid_mark: EROFS"],
        ["PrivateDevices=yes", "Cannot start "],
        ["RestrictNamespaces=yes", `Cannot enter network namespace ${named.netns}: EPERM`],
        ["MemoryDenyWriteExecute=yes", "requires the JIT"],
      ] as const) {
        dropIn(change);
        damage();
        restart();
        // The pods have a bounded time in each pass, so the last of them may come in a later one.
        await waitUntil(() => log().includes(says), { what: () => `${says} after ${change}: ${log()}` });
      }
      dropIn("");
      expect(restart()).toMatchObject({ exitCode: 0 });
    },
    testMs,
  );

  test(
    "restarted and killed under streams between pods, it loses nothing: the userspace WireGuard stays",
    async () => {
      const before = daemons();
      expect(before).toHaveLength(devices.length);
      // It was the unit that has started them.
      for (const pid of before) expect(systemd.inside.must(["cat", `/proc/${pid}/cgroup`])).toContain(unit);
      // The devices are new: the other node hears of it by the first handshake.
      const answers = () => n1.exec(["ping", "-q", "-c", "1", "-W", "1", remote.ip(4)]).exitCode === 0;
      await waitUntil(answers, { what: "there is a session" });
      const flows = ([4, 6] as const).flatMap((family) => eachWay([[named, remote]], family));
      const streams = await Streams.start(flows);
      await Bun.sleep(500);
      const first = mainPid();
      expect(restart()).toMatchObject({ exitCode: 0 });
      const second = mainPid();
      expect(second).not.toBe(first);
      systemd.inside.must(["kill", "-KILL", second]);
      await waitUntil(
        () => !["0", second].includes(mainPid()) && systemd.show(unit, "SubState") === "running",
        {
          what: "systemd has started the agent again",
        },
      );
      await Bun.sleep(500);
      expect(losses(await streams.stop())).toEqual({});
      expect(daemons()).toEqual(before);
    },
    testMs,
  );

  test(
    "a look that hangs trips the watchdog; looks that do not, do not",
    async () => {
      dropIn(`WatchdogSec=${watchdogSeconds}`);
      restart();
      const pid = mainPid();
      await Bun.sleep(2 * watchdogSeconds * 1000);
      expect(mainPid()).toBe(pid);
      const restarts = () => Number(systemd.show(unit, "NRestarts"));
      const before = restarts();
      // A look that has something to put back waits for whoever else is at it.
      const lock = await holdLock(n1, `${n1.stateDir}/sync.lock`);
      n1.must(["ip", "route", "flush", "table", String(tables.pods)]);
      await waitUntil(() => restarts() > before, { what: "the watchdog ends it", timeoutMs: 60_000 });
      await lock.stop("SIGKILL");
      await waitUntil(() => routeLines(n1, 4, tables.pods).join().includes("10.244.2.0/24"), {
        what: "the next one puts the routes back",
        timeoutMs: 60_000,
      });
      dropIn("");
    },
    testMs,
  );

  test("systemd finds nothing to say against the unit", () => {
    const verified = n1.exec(["systemd-analyze", "verify", `/run/units/${unit}`]);
    expect(verified).toMatchObject({ exitCode: 0, stderr: "" });
    const exposure = n1.exec(["systemd-analyze", "security", "--offline=yes", "--threshold=32", unitFile]);
    expect(exposure.exitCode).toBe(0);
  });

  test("pods are started after it, and it is never given up", () => {
    const text = readFileSync(unitFile, "utf8");
    const before = /^Before=(.*)$/m.exec(text)?.[1]?.split(" ") ?? [];
    for (const runtime of ["kubelet.service", "containerd.service", "crio.service"])
      expect(before).toContain(runtime);
    expect(systemd.show(unit, "StartLimitIntervalUSec")).toBe("0");
    expect(systemd.show(unit, "Restart")).toBe("always");
  });
  afterAll(() => holder?.stop("SIGKILL"));
}, ["systemctl", "/lib/systemd/systemd", "setpriv", "flock"]);
