// The unit that starts a userspace WireGuard for an agent in a container, run by a real systemd in a lab node:
// nobody does anything by hand after an install, after a reinstall and after a boot. The agent has neither a
// program to start nor a way to see the node's.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { binary, repository } from "../../lab/paths.ts";
import { Systemd } from "../../lab/systemd.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, devices } from "../support/mesh-reference.ts";

const unit = "wg-cni-userspace.service";
const unitFile = `${repository}/conf/${unit}`;
const logFile = "/run/wg-cni-userspace.log";
const plugin = "/opt/cni/bin/wg-cni";
const contained = "/run/contained";
/** The lab has no journal to log to, and may withhold the right to change the OOM score. */
const forLab = `[Service]
StandardOutput=append:${logFile}
StandardError=append:${logFile}
OOMScoreAdjust=0
`;
/** A busy machine starts two processes, and the agent finds the devices at its next poll. */
const soonMs = 60_000;

describeKernel("the userspace WireGuard's service", () => {
  setDefaultTimeout(180_000);
  // The hook before the lab's own: systemd's groups are in it.
  afterAll(() => systemd?.[Symbol.dispose]());
  const lab = withLab("userspace");
  let n1: Node;
  let systemd: Systemd;
  let recordsDir: string;
  let agent: Agent;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    ({ recordsDir } = await joinByRecords([await addNode(lab, 2)]));
    n1.script(["mount -t tmpfs tmpfs /opt", "mkdir -p /opt/cni/bin"]);
    // As in a container: its own programs, and the variable that the kubelet sets.
    n1.must(["sh", "-c", `cat >${contained} && chmod +x ${contained}`], {
      stdin: `#!/bin/sh\nPATH=/nonexistent KUBERNETES_SERVICE_HOST=192.0.2.254 exec ${plugin} "$@"\n`,
    });
    const units = { [unit]: readFileSync(unitFile, "utf8"), [`${unit}.d/10-lab.conf`]: forLab };
    systemd = await Systemd.start(n1, units);
  });

  /** As `wg-cni install` puts it in place. */
  const install = () => n1.script([`cp ${binary} ${plugin}.new`, `mv ${plugin}.new ${plugin}`]);
  const log = () => (existsSync(n1.outsidePath(logFile)) ? n1.must(["cat", logFile]) : "");
  const there = () => devices.filter((dev) => n1.exec(["ip", "link", "show", dev]).exitCode === 0);
  const daemons = () =>
    systemd.inside.exec(["pgrep", "-f", "^wireguard-go|/wireguard-go"]).stdout.trim().split("\n");
  const isWell = async () => {
    const { stdout, exitCode } = await n1.wg(["status", "--json"]);
    return exitCode === 0 && (JSON.parse(stdout) as { peers: unknown[] }).peers.length === 1;
  };
  const encrypts = () =>
    waitUntil(isWell, { what: () => `n1 is well; the unit said:\n${log()}`, timeoutMs: soonMs });
  const areGone = () =>
    waitUntil(() => there().length === 0, { what: "no device is left", timeoutMs: soonMs });
  const start = async () => {
    agent = await n1.agent({ program: contained });
  };

  test("it waits for the executable, and makes nothing on a node that has no store", async () => {
    expect(systemd.systemctl(["start", unit])).toMatchObject({ exitCode: 0 });
    install();
    const runs = () => systemd.inside.exec(["pgrep", "-f", `^${plugin} userspace`]).exitCode === 0;
    await waitUntil(runs, { what: "the command runs", timeoutMs: soonMs });
    expect(existsSync(n1.outsidePath(n1.stateDir))).toBe(false);
  });

  test("after an install the node encrypts, and the agent has said what it lacks", async () => {
    systemd.systemctl(["stop", unit]);
    const up = [contained, "up", ...n1.upArguments, "--records-dir", recordsDir];
    expect((await n1.run(up)).exitCode).toBe(1);
    expect(there()).toEqual([]);
    await start();
    const { reason } = await agent.waitFor("slot withdrawn", soonMs);
    expect(reason).toContain(unit);
    const { findings } = JSON.parse((await n1.wg(["doctor", "--json"])).stdout) as Doctor;
    const failed = findings.filter(({ level }) => level !== "ok").map(({ check }) => check);
    expect(failed).toContain("wireguard");
    expect(failed).not.toContain("handshakes");
    systemd.systemctl(["start", unit]);
    await encrypts();
  });

  test("a process that was killed is started again, and its device configured", async () => {
    const before = daemons();
    for (const pid of before) systemd.inside.must(["kill", "-KILL", pid]);
    await waitUntil(() => daemons().length === 2 && !daemons().some((pid) => before.includes(pid)), {
      what: () => `other processes than ${before}; the unit said:\n${log()}`,
      timeoutMs: soonMs,
    });
    await encrypts();
  });

  test("the service is restarted and its executable replaced, and the processes stay", async () => {
    const [before, first] = [daemons(), systemd.show(unit, "MainPID")];
    install();
    const isAnother = () => !["0", first].includes(systemd.show(unit, "MainPID"));
    await waitUntil(isAnother, {
      what: () => `the service runs the new one; it said:\n${log()}`,
      timeoutMs: soonMs,
    });
    systemd.systemctl(["restart", unit]);
    expect(daemons()).toEqual(before);
    expect(await isWell()).toBe(true);
  });

  test("a node that has left keeps no device, and sync on it says that it is down", async () => {
    await n1.wg(["down"]);
    await areGone();
    const { exitCode, stdout } = await n1.wg(["sync", "--json"]);
    expect({ exitCode, writes: JSON.parse(stdout).writes }).toEqual({ exitCode: 3, writes: 0 });
    // Two polls of the service.
    await Bun.sleep(2500);
    expect(there()).toEqual([]);
  });

  test("after a reinstall the node encrypts", async () => {
    await n1.run([contained, "up"]);
    await encrypts();
  });

  test("after a boot the node encrypts: devices, sockets and their directory are gone", async () => {
    await agent.stop();
    systemd.systemctl(["stop", unit]);
    for (const pid of daemons()) systemd.inside.must(["kill", "-KILL", pid]);
    await areGone();
    n1.script(["rm -rf /run/wireguard", "nft flush ruleset"]);
    systemd.systemctl(["start", unit]);
    await start();
    await encrypts();
  });

  test("systemd finds nothing to say against the unit", () => {
    const verified = n1.exec(["systemd-analyze", "verify", `/run/units/${unit}`]);
    expect(verified).toMatchObject({ exitCode: 0, stderr: "" });
    const exposure = n1.exec(["systemd-analyze", "security", "--offline=yes", "--threshold=35", unitFile]);
    expect(exposure).toMatchObject({ exitCode: 0 });
  });
}, ["systemctl", "/lib/systemd/systemd", "wireguard-go", "pgrep"]);

interface Doctor {
  readonly findings: readonly { readonly check: string; readonly level: string }[];
}
