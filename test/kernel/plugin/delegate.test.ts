// Standalone with addresses from another IPAM plugin: Debian's host-local, whose
// files say what is reserved, and scripts that note how they were called.

import { beforeAll, describe, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type ConfList, type PluginConf, readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, pluginPath, refuse, succeed } from "../support/plugin.ts";
import { addressesOf, linkNames, noRows, rows, snapshot, throwRoutes } from "../support/reference.ts";

describeKernel("standalone with a delegated IPAM", () => {
  const lab = withLab("delegate");
  let node: Node;
  let before: string[];
  let count = 0;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
    before = snapshot(node);
  });
  const newPod = () => node.pod(`p${++count}`);

  describe("host-local", () => {
    const list: ConfList = readConfList(`${repository}/conf/10-wg-cni-host-local.conflist`);
    const plugin = list.plugins[0] as PluginConf;
    const conf = { ...plugin, name: list.name, cniVersion: list.cniVersion };
    /** The addresses that host-local has files for. */
    const reserved = () =>
      node
        .script([`ls /var/lib/cni/networks/${list.name} 2>/dev/null || true`])
        .split("\n")
        .filter((name) => /^[\d.]+$|:/.test(name))
        .sort();

    function expectNothingLeft(): void {
      expect(snapshot(node)).toEqual(before);
      expect(rows(node)).toEqual(noRows);
      expect(reserved()).toEqual([]);
    }

    test("ADD, CHECK and DEL go through to it", async () => {
      const pod = newPod();
      const { interfaces } = await node.runtime.add(list, pod);
      expect(interfaces?.map(({ name }) => name)).toEqual([expect.stringMatching(/^wgc/), "eth0"]);
      expect(reserved()).toEqual([pod.ip(4), pod.ip(6)]);
      expect(addressesOf(pod, "eth0")).toEqual([`${pod.ip(4)}/32`, `${pod.ip(6)}/128`]);
      expect(throwRoutes(node)).toEqual([pod.ip(4), pod.ip(6)]);
      expect(rows(node).leases).toEqual([]);
      for (const family of [4, 6] as const) {
        expect(await ping(pod, node.ip(family) as string)).toMatchObject({ received: 3 });
        expect(await ping(node, pod.ip(family))).toMatchObject({ received: 3 });
      }
      await node.runtime.check(list, pod);
      await node.runtime.del(list, pod);
      await node.runtime.del(list, pod);
      expectNothingLeft();
    });

    test("CHECK fails if host-local has lost the reservation", async () => {
      const pod = newPod();
      await node.runtime.add(list, pod);
      node.script([`rm /var/lib/cni/networks/${list.name}/[1f]*`]);
      await expect(node.runtime.check(list, pod)).rejects.toThrow("host-local: Failed to find address");
      await node.runtime.del(list, pod);
      expectNothingLeft();
    });

    test.each([
      ["the kernel refuses the link", { runtimeConfig: { mac: "01:00:00:00:00:01" } }],
      [
        "the kernel refuses a route",
        { ipam: { ...(plugin["ipam"] as object), routes: [{ dst: "169.254.1.1/32" }] } },
      ],
    ])("where %s, its addresses go back", async (_, more) => {
      const pod = newPod();
      const { code } = await refuse(node, "ADD", { ...conf, ...more }, pod);
      expect(code).toBeGreaterThanOrEqual(7);
      expect(linkNames(pod)).toEqual(["lo"]);
      expectNothingLeft();
    });

    test("if the interface is there already, nothing is asked for", async () => {
      const pod = newPod();
      pod.script(["ip link add eth0 type bridge"]);
      expect(await refuse(node, "ADD", conf, pod)).toMatchObject({ code: 103 });
      expectNothingLeft();
    });

    test("a second ADD of the same container leaves the first its addresses", async () => {
      const pod = newPod();
      await node.runtime.add(list, pod);
      const state = [snapshot(node), snapshot(pod), rows(node), reserved()];
      expect(await refuse(node, "ADD", conf, pod)).toMatchObject({ code: 103 });
      expect([snapshot(node), snapshot(pod), rows(node), reserved()]).toEqual(state);
      await node.runtime.check(list, pod);
      await node.runtime.del(list, pod);
      expectNothingLeft();
    });

    test("its own error is passed on with its code, and nothing is left", async () => {
      const tiny = { type: "host-local", ranges: [[{ subnet: "10.99.0.0/30" }]] };
      const pod = newPod();
      await succeed(node, "ADD", { ...conf, ipam: tiny }, pod);
      const late = newPod();
      const { code, msg } = await refuse(node, "ADD", { ...conf, ipam: tiny }, late);
      expect(code).toBeGreaterThan(0);
      expect(msg).toContain("no IP addresses available in range set");
      expect(linkNames(late)).toEqual(["lo"]);
      await succeed(node, "DEL", { ...conf, ipam: tiny }, pod);
      expectNothingLeft();
    });

    test("DEL gives the addresses back when the namespace has gone, and when our record has", async () => {
      const [gone, lost] = [newPod(), newPod()];
      await node.runtime.add(list, gone);
      await node.runtime.add(list, lost);
      node.script([`ip netns delete ${gone.name}`]);
      await succeed(node, "DEL", conf, gone);
      node.script([`rm -r ${node.stateDir}`]);
      const previous = node.runtime.cache.get(`${list.name} ${lost.containerID} eth0`);
      await succeed(node, "DEL", { ...conf, prevResult: previous }, lost);
      expectNothingLeft();
    });
  });

  describe("a plugin", () => {
    const directory = "/run/fake";
    const path = { env: { CNI_PATH: `${directory}:${pluginPath}` } };
    const conf = {
      type: "wg-cni",
      name: "fake",
      cniVersion: "1.1.0",
      ipam: { type: "fake-ipam", own: [1, "x"] },
    };

    /** A plugin that notes every call and answers by verb. */
    function install(answers: Record<string, string>): void {
      const cases = Object.entries(answers).map(([verb, answer]) => `${verb}) ${answer} ;;`);
      const script = [
        "#!/bin/sh",
        `echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS" >>${directory}/calls`,
        `cat >${directory}/stdin`,
        'case "$CNI_COMMAND" in',
        ...cases,
        "esac",
      ];
      node.script([`mkdir -p ${directory}; rm -f ${directory}/*`]);
      node.must(["sh", "-c", `cat >${directory}/fake-ipam; chmod 755 ${directory}/fake-ipam`], {
        stdin: script.join("\n"),
      });
    }
    const calls = () =>
      node
        .script([`cat ${directory}/calls`])
        .trim()
        .split("\n");
    const stdin = () => JSON.parse(node.script([`cat ${directory}/stdin`]));
    const gives = (...ips: string[]) =>
      `echo '${JSON.stringify({ cniVersion: "1.1.0", ips: ips.map((address) => ({ address })) })}'`;

    function addPod(): [Pod, Promise<Awaited<ReturnType<typeof call>>>] {
      const pod = newPod();
      return [pod, call(node, "ADD", conf, pod, path)];
    }

    test("gets the same environment and the whole configuration, and its stderr is passed on", async () => {
      install({ ADD: `echo noted >&2; ${gives("10.98.0.5/24")}` });
      const [pod, added] = addPod();
      const { json, stderr } = await added;
      expect(stderr).toBe("noted\n");
      expect(json.ips).toEqual([{ address: "10.98.0.5/32", gateway: "169.254.1.1", interface: 1 }]);
      expect(calls()).toEqual([`ADD ${pod.containerID} ${pod.netns} eth0`]);
      expect(stdin()).toEqual(conf);
      await succeed(node, "CHECK", { ...conf, prevResult: json }, pod, path);
      await succeed(node, "STATUS", conf, undefined, path);
      await succeed(node, "GC", { ...conf, "cni.dev/valid-attachments": [] }, undefined, path);
      expect(stdin()).toEqual({ ...conf, "cni.dev/valid-attachments": [] });
      await succeed(node, "DEL", conf, pod, path);
      expect(calls().map((line) => line.split(" ")[0])).toEqual(["ADD", "CHECK", "STATUS", "GC", "DEL"]);
    });

    test.each([
      ["prints no JSON", "echo nonsense", 106, "gave no usable result"],
      ["gives no address", gives(), 106, "gave no address"],
      [
        "fails with an error of its own",
        `echo '{"code": 11, "msg": "come again"}'; exit 1`,
        11,
        "come again",
      ],
      ["fails without a word", "exit 3", 106, "with exit code 3"],
      ["is killed", "kill -9 $$", 106, "by SIGKILL"],
    ])("that %s is asked to undo, and the pod stays empty", async (_, answer, code, words) => {
      install({ ADD: answer });
      const [pod, added] = addPod();
      const { json } = await added;
      expect(json.code).toBe(code);
      expect(json.msg).toContain(words);
      expect(calls().map((line) => line.split(" ")[0])).toEqual(["ADD", "DEL"]);
      expect(linkNames(pod)).toEqual(["lo"]);
      expect(rows(node)).toEqual(noRows);
    });

    test("whose undo fails too: the first failure is the one reported", async () => {
      install({ ADD: "exit 3", DEL: `echo '{"code": 99, "msg": "no"}'; exit 1` });
      const { json, stderr } = await addPod()[1];
      expect(json).toMatchObject({ code: 106 });
      expect(json.msg).toContain("with exit code 3");
      expect(stderr).toContain("no");

      install({ ADD: gives("10.98.0.6/24"), DEL: `echo '{"code": 99, "msg": "no"}'; exit 1` });
      const refused = { ...conf, runtimeConfig: { mac: "01:00:00:00:00:01" }, capabilities: { mac: true } };
      const failed = await refuse(node, "ADD", refused, newPod(), path);
      expect(failed.code).not.toBe(99);
      expect(failed.stderr).toContain("while undoing: no");
    });

    test("whose DEL fails makes ours fail, so that the runtime repeats it", async () => {
      install({ ADD: gives("10.98.0.7/24"), DEL: `echo '{"code": 11, "msg": "busy"}'; exit 1` });
      const [pod, added] = addPod();
      expect((await added).exitCode).toBe(0);
      expect(await refuse(node, "DEL", conf, pod, path)).toMatchObject({ code: 11, msg: "busy" });
      install({ DEL: "true" });
      await succeed(node, "DEL", conf, pod, path);
      expect(calls()).toHaveLength(1);
      expect(snapshot(node)).toEqual(before);
    });

    test("that is not installed is named, with the directories that were searched", async () => {
      const absent = { ...conf, ipam: { type: "not-there" } };
      const { code, msg } = await refuse(node, "ADD", absent, newPod());
      expect(code).toBe(7);
      expect(msg).toContain('cannot find the plugin "not-there" in CNI_PATH');
      expect(msg).toContain("/usr/lib/cni");
    });

    test("cannot be a path", async () => {
      const { code, msg } = await refuse(node, "ADD", { ...conf, ipam: { type: "../bin/sh" } }, newPod());
      expect({ code, msg: msg.includes("is a path") }).toEqual({ code: 7, msg: true });
    });
  });
});
