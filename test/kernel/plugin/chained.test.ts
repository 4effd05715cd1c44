// Chained after Debian's ptp and bridge with host-local: their result passes
// through unchanged, their pods and their own CHECK stay as they were, and what
// is ours is there exactly as long as the pod.

import { beforeAll, describe, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type CniResult, type ConfList, type PluginConf, readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { allVersions, succeed } from "../support/plugin.ts";
import { noRows, rows, snapshot, throwRoutes } from "../support/reference.ts";

describeKernel("chained ADD and DEL after reference plugins", () => {
  const lab = withLab("chained");
  let node: Node;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
  });
  describe.each([
    ["ptp", "10-ptp", "10.244.1.", "fd00:10:244:1::"],
    ["bridge", "10-bridge", "10.244.2.", "fd00:10:244:2::"],
  ])("%s", (type, file, prefix4, prefix6) => {
    const list: ConfList = {
      ...readConfList(`${repository}/conf/${file}.conflist`),
      name: `pods-${type}`,
    };
    const [main, ours] = list.plugins as [PluginConf, PluginConf];
    let pod: Pod;
    let result: CniResult;
    let nodeBefore: string[];

    beforeAll(() => {
      nodeBefore = snapshot(node);
      pod = node.pod(`${type}-a`);
    });

    test("ADD prints the result before unchanged, and leaves the pod as it was", async () => {
      result = (await node.runtime.must("ADD", list, main, pod)) as CniResult;
      const podBefore = snapshot(pod);
      const answer = await succeed(
        node,
        "ADD",
        { ...ours, name: list.name, cniVersion: list.cniVersion, prevResult: result },
        pod,
      );
      expect(answer.json).toEqual(result as typeof answer.json);
      expect(answer.stderr).toBe("");
      expect(snapshot(pod)).toEqual(podBefore);
    });

    test("a throw route for each address keeps it out of the tunnel", () => {
      const ips = (result.ips ?? []).map(({ address }) => address.split("/")[0] as string);
      expect(ips.map((ip) => ip.startsWith(prefix4) || ip.startsWith(prefix6))).toEqual([true, true]);
      expect(throwRoutes(node)).toEqual(ips.sort());
      const of4 = node.must(["ip", "-4", "route", "show", "table", "18099", "proto", "118"]);
      expect(of4.trim()).toBe(`throw ${ips[0]}`);
    });

    test("ADD again changes nothing", async () => {
      const before = [snapshot(node), snapshot(pod), rows(node)];
      const again = await node.runtime.must("ADD", list, ours, pod, {}, result);
      expect(again).toEqual(result);
      expect([snapshot(node), snapshot(pod), rows(node)]).toEqual(before);
    });

    test("CHECK of the whole chain passes, the reference plugin's too", async () => {
      node.runtime.cache.set(`${list.name} ${pod.containerID} eth0`, result);
      await node.runtime.check(list, pod);
    });

    test("pods of the node reach each other and the node over both families", async () => {
      const other = node.pod(`${type}-b`);
      await node.runtime.add(list, other);
      await node.runtime.check(list, other);
      for (const { address } of result.ips ?? []) {
        const ip = address.split("/")[0] as string;
        for (const from of [other, node]) expect(await ping(from, ip)).toMatchObject({ received: 3 });
      }
      for (const family of [4, 6] as const) {
        expect(await ping(pod, other.ip(family))).toMatchObject({ received: 3 });
        expect(await ping(pod, node.ip(family) as string)).toMatchObject({ received: 3 });
      }
      await node.runtime.del(list, other);
      expect(throwRoutes(node)).toHaveLength(2);
    });

    test("DEL of the chain leaves the node as it was, and may be repeated", async () => {
      await node.runtime.del(list, pod);
      await node.runtime.del(list, pod);
      expect(throwRoutes(node)).toEqual([]);
      expect(rows(node)).toEqual(noRows);
      // A bridge stays for the next pod.
      expect(snapshot(node).filter((line) => !line.includes("cni0"))).toEqual(nodeBefore);
    });
  });

  describe.each(allVersions.filter((version) => version !== "1.1.0"))("ptp at %s", (version) => {
    const list: ConfList = {
      ...readConfList(`${repository}/conf/10-ptp.conflist`),
      cniVersion: version,
      name: `versions-${version}`,
    };
    const [main, ours] = list.plugins as [PluginConf, PluginConf];

    test("speaks the version's shape in and out, CHECKs if it may, DELs without a result", async () => {
      const pod = node.pod(`v${version.replaceAll(".", "")}`);
      const result = (await node.runtime.must("ADD", list, main, pod)) as CniResult;
      expect(result.cniVersion).toBe(version);
      expect(await node.runtime.must("ADD", list, ours, pod, {}, result)).toEqual(result);
      expect(throwRoutes(node)).toHaveLength(2);
      const check = node.runtime.must("CHECK", list, ours, pod, {}, result);
      if (version === "0.4.0" || version === "1.0.0") expect(await check).toBeUndefined();
      else await expect(check).rejects.toMatchObject({ code: 1 });
      await node.runtime.must("DEL", list, ours, pod);
      expect(throwRoutes(node)).toEqual([]);
      expect(rows(node)).toEqual(noRows);
      await node.runtime.must("DEL", list, main, pod);
    });
  });
});
