// A node that starts a hundred pods at once: every ADD succeeds, no address is
// given twice, and a hundred DELs at once leave nothing.

import { beforeAll, describe, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type ConfList, readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addressesOf, linkNames, noRows, rows, snapshot, throwRoutes } from "../support/reference.ts";

const pods = 100;
const conf = (file: string): ConfList => readConfList(`${repository}/conf/${file}.conflist`);

describeKernel(`${pods} pods at once`, () => {
  const lab = withLab("parallel");
  let node: Node;
  const all: Pod[] = [];
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
    for (let i = 0; i < pods; i++) all.push(node.pod(`p${i}`));
  });
  describe.each([
    ["embedded IPAM", conf("10-wg-cni-ranges"), 2 * pods],
    ["host-local", conf("10-wg-cni-host-local"), 0],
    ["chained after ptp", conf("10-ptp"), 0],
  ])("%s", (_, list, leases) => {
    let before: string[];

    test("ADD succeeds for all, with distinct addresses", async () => {
      before = snapshot(node);
      await Promise.all(all.map((pod) => node.runtime.add(list, pod)));
      const ips = all.flatMap((pod) => [pod.ip(4), pod.ip(6)]);
      expect(new Set(ips).size).toBe(2 * pods);
      expect(throwRoutes(node)).toEqual(ips.sort());
      expect(rows(node).attachments).toHaveLength(pods);
      expect(rows(node).leases).toHaveLength(leases);
    });

    test("each pod has its own, and answers", async () => {
      for (const pod of [all[0], all[49], all[99]] as Pod[]) {
        const addresses = addressesOf(pod, "eth0").map((address) => address.split("/")[0] as string);
        expect(addresses).toEqual([pod.ip(4), pod.ip(6)]);
        await node.runtime.check(list, pod);
        for (const ip of addresses) expect(await ping(node, ip)).toMatchObject({ received: 3 });
      }
    });

    test("DEL of all leaves nothing", async () => {
      await Promise.all(all.map((pod) => node.runtime.del(list, pod)));
      expect(rows(node)).toEqual(noRows);
      expect(snapshot(node)).toEqual(before);
      for (const pod of [all[0], all[99]] as Pod[]) expect(linkNames(pod)).toEqual(["lo"]);
    });
  });
});
