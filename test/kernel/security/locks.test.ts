// A local user without privileges holds locks on all that it can open, and things that block whoever
// opens them lie where a namespace or a file is expected: pods come and go, and an installer installs.
import { beforeAll, expect, test } from "bun:test";
import { holdLock } from "../../lab/held-lock.ts";
import type { Running } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, succeed } from "../support/plugin.ts";

const conf = {
  ...{ type: "wg-cni", name: "pods", cniVersion: "1.0.0" },
  ipam: { ranges: [[{ subnet: "10.9.0.0/24" }]] },
};
const user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"];
const binDir = "/run/wg-cni/bin";
/** A lock of another process is waited for longer than this. */
const promptMs = 4000;

describeKernel("availability against local users", () => {
  const lab = withLab("locks");
  let node: Node;
  let pod: Pod;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    // As a kubelet makes a host path that is not there yet.
    node.script([`mkdir -m 755 ${node.stateDir}`, `mkdir -p -m 755 ${binDir} /run/wg-cni/net.d`]);
    pod = node.pod("a");
  });

  /** Locks what the user can open, and shows that root then cannot. */
  async function holdAsUser(path: string): Promise<Running> {
    const holder = await holdLock(node, path, user);
    expect(node.exec(["flock", "-n", path, "true"]).exitCode).not.toBe(0);
    return holder;
  }

  test("a lock on the state directory stops neither ADD nor DEL, and none can be taken on what is in it", async () => {
    const holder = await holdAsUser(node.stateDir);
    for (const verb of ["ADD", "DEL", "ADD"] as const) {
      const { milliseconds } = await succeed(node, verb, conf, pod);
      expect(milliseconds).toBeLessThan(promptMs);
    }
    node.must([binary, "up", ...node.upArguments]);
    expect(node.must(["stat", "-c", "%a", node.stateDir]).trim()).toBe("700");
    const files = node.must(["find", node.stateDir]).trim().split("\n");
    expect(files.length).toBeGreaterThan(4);
    for (const path of files)
      expect([path, node.exec([...user, "flock", "-n", path, "true"]).exitCode]).not.toEqual([path, 0]);
    holder.signal("SIGKILL");
  });

  test("files that were opened to all users are closed by the next call", async () => {
    node.script([`chmod -R a+rwX ${node.stateDir}`]);
    await succeed(node, "DEL", conf, pod);
    const names = ["state.db", "state.db-wal", "state.db-shm", "write.lock", "state.lock", "sync.lock"];
    const modes = names.map((name) => node.must(["stat", "-c", "%n %a", `${node.stateDir}/${name}`]).trim());
    expect(modes).toEqual(names.map((name) => `${node.stateDir}/${name} 600`));
  });

  test("a lock on the directory of plugins stops no installer, and nothing is left there", async () => {
    const holder = await holdAsUser(binDir);
    const directories = ["--bin-dir", binDir, "--conf-dir", "/run/wg-cni/net.d", "--wait", "0"];
    node.script([
      `ln -s /bin/true ${binDir}/ptp`,
      `echo '{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"ptp"}]}' >/run/wg-cni/net.d/1.conflist`,
    ]);
    const { exitCode, stderr, milliseconds } = node.exec([binary, "install", ...directories]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(milliseconds).toBeLessThan(promptMs + 10_000);
    expect(node.must(["ls", "-A", binDir])).toBe("ptp\nwg-cni\n");
    node.must([binary, "uninstall", ...directories.slice(0, 4)]);
    expect(node.must(["ls", "-A", binDir])).toBe("ptp\n");
    holder.signal("SIGKILL");
  });

  test.each([
    ["a pipe", "mkfifo /run/netns/trap", "timeout 1 cat /run/netns/trap"],
    ["a file", "echo x >/run/netns/trap", undefined],
    ["a directory", "mkdir /run/netns/trap", undefined],
    ["a device", "mknod /run/netns/trap c 1 5", undefined],
    [
      "a link to a pipe",
      "mkfifo /run/pipe; ln -s /run/pipe /run/netns/trap",
      "timeout 1 cat /run/netns/trap",
    ],
    [
      "another kind of namespace",
      "touch /run/netns/trap; mount --bind /proc/self/ns/uts /run/netns/trap",
      undefined,
    ],
  ])("%s as CNI_NETNS is refused at once", async (_what, make, control) => {
    node.script([make]);
    // It does block whoever opens it.
    if (control !== undefined) expect(node.exec(["sh", "-c", control]).exitCode).toBe(124);
    const env = { CNI_NETNS: "/run/netns/trap", CNI_NETNS_OVERRIDE: "1" };
    for (const verb of ["ADD", "CHECK", "DEL"] as const) {
      const { json, exitCode, milliseconds } = await call(node, verb, conf, pod, { env });
      expect(milliseconds).toBeLessThan(promptMs);
      if (verb !== "DEL") expect([verb, exitCode, typeof json.code]).toEqual([verb, 1, "number"]);
    }
    node.script(["umount /run/netns/trap 2>/dev/null || true", "rm -rf /run/netns/trap /run/pipe"]);
  });

  test.each([["plugin.log"], ["calls.log"], ["state.db"], ["write.lock"]])(
    "a pipe in the place of %s makes no call wait",
    async (name) => {
      const path = `${node.stateDir}/${name}`;
      node.script([`[ ! -e ${path} ] || mv ${path} /run/kept`, `mkfifo ${path}`]);
      for (const verb of ["ADD", "STATUS", "DEL"] as const) {
        const list = verb === "STATUS" ? { ...conf, cniVersion: "1.1.0" } : conf;
        const { milliseconds } = await call(node, verb, list, pod);
        expect([verb, milliseconds < promptMs]).toEqual([verb, true]);
      }
      node.script([`rm ${path}`, `[ ! -e /run/kept ] || mv /run/kept ${path}`]);
    },
  );
}, ["setpriv", "flock", "mkfifo"]);
