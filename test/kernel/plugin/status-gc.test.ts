// STATUS, GC and VERSION of the built plugin: what runtimes ask every few
// seconds, once at their start, and at every change of their directories.

import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { withLab } from "../../lab/with-lab.ts";
import { attachByHand, removeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { allVersions, call, refuse, succeed } from "../support/plugin.ts";
import { linkNames, noRows, rows, snapshot, throwRoutes } from "../support/reference.ts";

const chained = { type: "wg-cni", name: "pods", cniVersion: "1.1.0" };
const standalone = { ...chained, name: "own", ipam: { ranges: [[{ subnet: "10.8.0.0/24" }]] } };

describeKernel("STATUS, GC and VERSION", () => {
  const lab = withLab("status");
  let node: Node;
  let before: string[];
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
    before = snapshot(node);
  });
  describe("STATUS", () => {
    afterEach(() => {
      node.script([`umount ${node.stateDir} 2>/dev/null || true`, `rm -rf ${node.stateDir}`]);
    });

    test("is good news on a fresh node, before and after the first pod", async () => {
      expect(await succeed(node, "STATUS", chained)).toMatchObject({ stdout: "", stderr: "" });
      const pod = node.pod("first");
      await succeed(node, "ADD", standalone, pod);
      for (const conf of [chained, standalone])
        expect(await succeed(node, "STATUS", conf)).toMatchObject({ stdout: "", stderr: "" });
      await succeed(node, "DEL", standalone, pod);
      expect(snapshot(node)).toEqual(before);
    });

    test.each([
      [
        "is no database",
        (dir: string) => [`mkdir -m 700 -p ${dir}`, `printf nonsense >${dir}/state.db`, "sync"],
      ],
      ["has a file for a directory", (dir: string) => [`rm -rf ${dir}`, `touch ${dir}`]],
    ])("is 50 where the store %s, and ADD fails with the same reason", async (_, spoil) => {
      node.script(spoil(node.stateDir));
      const { code, msg } = await refuse(node, "STATUS", standalone);
      expect(code).toBe(50);
      expect(msg).toContain(node.stateDir);
      const added = await refuse(node, "ADD", standalone, node.pod(`bad${node.pods.length}`));
      expect(added.code).toBe(5);
      expect(snapshot(node)).toEqual(before);
    });

    test("is 50 if the store is on a read-only file system", async () => {
      await succeed(node, "GC", { ...chained, "cni.dev/valid-attachments": [] });
      const dir = node.stateDir;
      node.script([`mount --bind ${dir} ${dir}`, `mount -o remount,ro,bind ${dir}`]);
      const { code, msg } = await refuse(node, "STATUS", chained);
      expect(code).toBe(50);
      expect(msg).toMatch(/read-only/i);
      expect(await refuse(node, "ADD", standalone, node.pod("ro"))).toMatchObject({ code: 5 });
      expect(snapshot(node)).toEqual(before);
    });

    test.each(allVersions.filter((version) => version !== "1.1.0"))(
      "and GC do not exist at %s",
      async (cniVersion) => {
        for (const verb of ["STATUS", "GC"] as const)
          expect(await refuse(node, verb, { ...chained, cniVersion })).toMatchObject({
            code: 1,
            msg: `config version does not allow ${verb}`,
          });
      },
    );
  });

  describe("GC", () => {
    const pods: Pod[] = [];
    const list = (...of: Pod[]) => of.map(({ containerID }) => ({ containerID, ifname: "eth0" }));
    const ids = () => rows(node).attachments.map(({ network, container_id }) => `${network} ${container_id}`);

    beforeAll(async () => {
      for (const i of [1, 2, 3]) {
        const pod = node.pod(`chained${i}`);
        const ips = [{ address: `10.7.0.${i}/32` }, { address: `fd00:7::${i}/128` }];
        const prevResult = attachByHand(pod, "1.1.0", { hostDev: `veth${i}`, ips });
        await succeed(node, "ADD", { ...chained, prevResult }, pod);
        pods.push(pod);
      }
      for (const i of [1, 2, 3]) {
        const pod = node.pod(`own${i}`);
        await succeed(node, "ADD", standalone, pod);
        pods.push(pod);
      }
    });

    test("without a list deletes nothing", async () => {
      const state = [snapshot(node), rows(node)];
      await succeed(node, "GC", chained);
      await succeed(node, "GC", { ...chained, "cni.dev/valid-attachments": null });
      expect([snapshot(node), rows(node)]).toEqual(state);
    });

    test("with everything on the list deletes nothing", async () => {
      const state = [snapshot(node), rows(node)];
      await succeed(node, "GC", { ...chained, "cni.dev/valid-attachments": list(...pods) });
      expect([snapshot(node), rows(node)]).toEqual(state);
    });

    test("removes what is not on the list, of this network only", async () => {
      await succeed(node, "GC", { ...chained, "cni.dev/valid-attachments": list(pods[0] as Pod) });
      expect(ids()).toEqual(["pods n1-chained1", "own n1-own1", "own n1-own2", "own n1-own3"]);
      expect(throwRoutes(node)).toEqual(["10.7.0.1", "10.8.0.2", "10.8.0.3", "10.8.0.4", "fd00:7::1"]);
    });

    test("takes links and leases of standalone pods along", async () => {
      const [, , , keep, ...gone] = pods;
      const key = { "cni.dev/valid-attachments": list(keep as Pod), "cni.dev/attachments": list(...pods) };
      await succeed(node, "GC", { ...standalone, ...key });
      expect(rows(node).leases.map(({ ip }) => ip)).toEqual(["10.8.0.2"]);
      for (const pod of gone) expect(linkNames(pod)).toEqual(["lo"]);
      expect(linkNames(keep as Pod)).toEqual(["eth0", "lo"]);
      expect(linkNames(node).filter((name) => name.startsWith("wgc"))).toHaveLength(1);
    });

    test("knows an attachment by container and interface", async () => {
      const other = list(pods[3] as Pod).map((entry) => ({ ...entry, ifname: "eth1" }));
      await succeed(node, "GC", { ...standalone, "cni.dev/valid-attachments": other });
      expect(linkNames(node).filter((name) => name.startsWith("wgc"))).toEqual([]);
    });

    test("with an empty list removes all of the network, and may be repeated", async () => {
      for (const conf of [chained, standalone, chained, standalone])
        await succeed(node, "GC", { ...conf, "cni.dev/valid-attachments": [] });
      expect(rows(node)).toEqual(noRows);
      for (const pod of pods) removeByHand(pod);
      expect(snapshot(node)).toEqual(before);
    });

    test("removes a pod whose namespace has gone", async () => {
      const pod = node.pod("vanished");
      await succeed(node, "ADD", standalone, pod);
      pod.remove();
      await succeed(node, "GC", { ...standalone, "cni.dev/valid-attachments": [] });
      expect(rows(node)).toEqual(noRows);
      expect(snapshot(node)).toEqual(before);
    });

    test.each([
      ["no list", { "cni.dev/valid-attachments": "all" }, "cni.dev/valid-attachments: expected a list"],
      [
        "an entry that is none",
        { "cni.dev/valid-attachments": [7] },
        "cni.dev/valid-attachments[0]: expected an object",
      ],
      [
        "an entry without an interface",
        { "cni.dev/valid-attachments": [{ containerID: "a" }] },
        "[0].ifname is missing",
      ],
    ])("with %s deletes nothing and says what is wrong", async (_, key, words) => {
      const pod = node.pod(`kept${node.pods.length}`);
      await succeed(node, "ADD", standalone, pod);
      const state = [snapshot(node), rows(node)];
      const { code, msg } = await refuse(node, "GC", { ...standalone, ...key });
      expect(code).toBe(7);
      expect(msg).toContain(words);
      expect([snapshot(node), rows(node)]).toEqual(state);
      await succeed(node, "DEL", standalone, pod);
    });
  });

  describe("VERSION", () => {
    const answer = { cniVersion: "1.1.0", supportedVersions: [...allVersions] };

    test("answers the same whatever stands on stdin, and reads nothing of it", async () => {
      for (const stdin of ['{"cniVersion":"1.1.0"}', "", "nonsense", '{"cniVersion":"9.9.9"}'])
        expect((await call(node, "VERSION", stdin)).json).toEqual(answer as never);
      const open = node.exec(
        ["sh", "-euc", "mkfifo /run/open; exec 3<>/run/open; exec timeout 5 $0 <&3", binary],
        {
          env: { CNI_COMMAND: "VERSION" },
        },
      );
      expect(JSON.parse(open.stdout)).toEqual(answer);
    });

    test("needs no environment, and takes libcni's dummies", async () => {
      const dummies = {
        CNI_NETNS: "dummy",
        CNI_IFNAME: "dummy",
        CNI_CONTAINERID: "dummy",
        CNI_PATH: "dummy",
      };
      const answered = node.exec([binary], { env: { CNI_COMMAND: "VERSION", ...dummies }, stdin: "{}" });
      expect(JSON.parse(answered.stdout)).toEqual(answer);
      expect(JSON.parse(node.exec([binary], { env: { CNI_COMMAND: "VERSION" } }).stdout)).toEqual(answer);
    });

    test("an empty CNI_COMMAND prints what this is", () => {
      const { exitCode, stdout, stderr } = node.exec([binary], { env: { CNI_COMMAND: "" } });
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "" });
      expect(stderr).toMatch(/^CNI plugin wg-cni v\d/);
      expect(stderr).toContain(
        "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0",
      );
    });
  });
});
