// Installed on a node as its runtime has it: real plugins in a directory that is
// not the usual one, pods added and removed by what is in the directories, also
// while the executable is exchanged under the calls.

import { beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { binary, repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type ConfList, readConfList, withoutPlugin } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { noRows, rows, throwRoutes } from "../support/reference.ts";

const binDir = "/run/home/kubernetes/bin";
const confDir = "/etc/cni/net.d";
const file = `${confDir}/10-ptp.conflist`;
const original = `${JSON.stringify(withoutPlugin(readConfList(`${repository}/conf/10-ptp.conflist`), "wg-cni"), null, 4)}\n`;
const directories = ["--bin-dir", binDir, "--conf-dir", confDir];

describeKernel("installed on a node", () => {
  const lab = withLab("install");
  let node: Node;

  beforeAll(async () => {
    node = await lab.node("n1", {
      ...{ ip4: "192.0.2.1", ip6: "2001:db8::1" },
      podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
    });
    node.script([`mkdir -p ${binDir} ${confDir}`, `cp /usr/lib/cni/ptp /usr/lib/cni/host-local ${binDir}`]);
    await joinMesh([node]);
  });
  const outside = (path: string) => node.outsidePath(path);
  const list = () => JSON.parse(readFileSync(outside(file), "utf8")) as ConfList;
  const write = (text: string) => writeFileSync(outside(file), text);

  /** Addresses of pods that were attached through us; without the node's own prefixes. */
  const attached = () => throwRoutes(node).filter((route) => !route.includes("/"));

  async function wg(...args: readonly string[]): Promise<string> {
    const done = await node.wg(args, { timeoutMs: 120_000 });
    if (done.exitCode !== 0) throw new Error(`wg-cni ${args.join(" ")}: ${done.stderr}${done.stdout}`);
    return done.stdout;
  }

  /** A pod comes and goes as the directories say now. */
  async function attachAndDetach(pod: Pod, between: () => void | Promise<void> = () => {}): Promise<void> {
    const conf = list();
    await node.runtime.add(conf, pod, { binDir });
    await between();
    await node.runtime.del(conf, pod, { binDir });
  }

  test("before the network is there, install waits for it", async () => {
    const installing = wg("install", ...directories, "--wait", "60s");
    await Bun.sleep(500);
    write(original.slice(0, 40));
    await Bun.sleep(500);
    expect(readdirSync(outside(confDir))).toEqual(["10-ptp.conflist"]);
    write(original);
    expect(await installing).toContain(`✓ ${file}: ptp, wg-cni (written)`);
    expect(list().plugins.map(({ type }) => type)).toEqual(["ptp", "wg-cni"]);
    expect(readFileSync(outside(`${binDir}/wg-cni`)).equals(readFileSync(binary))).toBe(true);
  });

  test("a pod is attached through it", async () => {
    const pod = node.pod("first");
    await attachAndDetach(pod, async () => {
      expect(attached()).toHaveLength(2);
      await node.runtime.check(list(), pod, { binDir });
      expect(await ping(pod, node.ip(4) as string)).toMatchObject({ received: 3 });
    });
    expect(attached()).toEqual([]);
    expect(rows(node)).toEqual(noRows);
  });

  test("calls that are under way while the executable is exchanged again and again all succeed", async () => {
    // The same program with one letter of its built-in help changed, which is another file.
    const other = readFileSync(binary);
    const at = other.indexOf("https://bun.com/docs");
    expect(at).toBeGreaterThan(0);
    other[at + "https://bun.com/".length] = "D".charCodeAt(0);
    writeFileSync(outside("/run/wg-cni-other"), other, { mode: 0o755 });
    const inodes = new Set<number>();
    let exchanging = true;
    let calls = 0;
    const attaching = [1, 2, 3].map(async (id) => {
      const pod = node.pod(`busy${id}`);
      while (exchanging) {
        await attachAndDetach(pod);
        calls++;
      }
    });
    try {
      for (let i = 0; i < 12; i++) {
        const source = i % 2 === 0 ? "/run/wg-cni-other" : binary;
        await wg("install", ...directories, "--source-binary", source);
        inodes.add(statSync(outside(`${binDir}/wg-cni`)).ino);
      }
    } finally {
      exchanging = false;
    }
    await Promise.all(attaching);
    expect(inodes.size).toBeGreaterThan(1);
    expect(calls).toBeGreaterThan(12);
    expect(attached()).toEqual([]);
    expect(rows(node)).toEqual(noRows);
  }, 180_000);

  test("its owner rewrites the network: pods go on without us, and through us after another install", async () => {
    write(original);
    const pod = node.pod("rewritten");
    await attachAndDetach(pod, () => expect(attached()).toEqual([]));
    await wg("install", ...directories);
    await attachAndDetach(pod, () => expect(attached()).toHaveLength(2));
  });

  test("uninstalled while a pod is there: the pod works on and goes, and nothing names us", async () => {
    const pod = node.pod("last");
    await node.runtime.add(list(), pod, { binDir });
    const said = await wg("uninstall", ...directories);
    expect(said).toContain(`✓ ${binDir}/wg-cni: removed`);
    expect(said).toContain("the mesh is still up: `wg-cni down` removes it");
    expect(readFileSync(outside(file), "utf8")).toBe(original);
    expect(readdirSync(outside(confDir))).toEqual(["10-ptp.conflist"]);
    expect(readdirSync(outside(binDir)).sort()).toEqual(["host-local", "ptp"]);
    expect(await ping(pod, node.ip(4) as string)).toMatchObject({ received: 3 });
    await node.runtime.del(list(), pod, { binDir });
  });
});
