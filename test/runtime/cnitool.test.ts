// cnitool, which is the current libcni as newer runtimes have it: every verb it
// has, for networks of each version that they are written in. libcni parses each
// result strictly at the network's version before it prints it.

import { beforeAll, describe, expect, test } from "bun:test";
import { findRuntimeAssets } from "../../scripts/runtime-assets.ts";
import { noRows, rows, snapshot, throwRoutes } from "../kernel/support/reference.ts";
import type { Completed } from "../lab/namespaces.ts";
import type { Node } from "../lab/node.ts";
import type { Pod } from "../lab/pod.ts";
import type { CniResult, ConfList } from "../lab/runtime.ts";
import { ping } from "../lab/traffic.ts";
import { withLab } from "../lab/with-lab.ts";
import { Context } from "./support/context.ts";
import { binDir, type Enclosure } from "./support/enclosure.ts";
import { describeRuntime } from "./support/gate.ts";
import { kindnet, leases, ours, rangesOf, standalone, writeNetwork } from "./support/networks.ts";

/** The directory in which libcni records its ADDs. */
const cache = "/var/lib/cni/results";

describeRuntime("cnitool", "cnitool", () => {
  const assets = findRuntimeAssets();
  const lab = withLab("cnitool", { hasControlGroup: true });
  let context: Context;
  let enclosure: Enclosure;
  let node: Node;
  let network: ConfList;
  let before: string[];

  beforeAll(async () => {
    context = await Context.create(lab);
    enclosure = context.enclosure;
    node = enclosure.node;
    before = snapshot(node);
  });

  /** Debian's reference plugins speak no 1.1; the current ones are beside cnitool. */
  const cniPath = () => {
    const current = `${assets?.ptp.slice(0, assets.ptp.lastIndexOf("/"))}`;
    return network.cniVersion === "1.1.0" ? `${current}:${binDir}` : binDir;
  };
  const cnitool = (verb: string, { netns }: Pod): Completed =>
    enclosure.exec([`${assets?.cnitool}`, verb, network.name, netns], { env: { CNI_PATH: cniPath() } });
  const must = (verb: string, pod: Pod): string => {
    const { exitCode, stdout, stderr } = cnitool(verb, pod);
    if (exitCode !== 0) throw new Error(`cnitool ${verb} ${pod.name}: ${stderr}${stdout}`);
    return stdout;
  };
  const add = (name: string) => {
    const pod = node.pod(name);
    const result = JSON.parse(must("add", pod)) as CniResult & { ips: { address: string }[] };
    return { pod, result, ip: result.ips[0]?.address.split("/")[0] as string };
  };

  const kinds: Record<string, () => ConfList> = {
    chained: () => kindnet(rangesOf(node), [ours]),
    standalone: () => standalone(),
  };
  const cases = Object.entries(kinds).flatMap(([kind, make]) =>
    ["0.3.1", "0.4.0", "1.0.0", "1.1.0"].map((version) => [kind, version, make] as const),
  );

  describe.each(cases)("%s, %s", (kind, cniVersion, make) => {
    const name = (role: string) => `${role}-${kind}-${cniVersion}`;
    let attached: ReturnType<typeof add>;

    test("add attaches, with a result of the version", async () => {
      network = { ...make(), cniVersion };
      writeNetwork(enclosure, network);
      attached = add(name("a"));
      const { pod, result, ip } = attached;
      expect(result.cniVersion).toBe(cniVersion);
      const inside = result.interfaces?.findIndex(({ sandbox }) => sandbox === pod.netns);
      expect(result.ips).toMatchObject([
        { interface: inside, address: expect.stringMatching(/^10\.244\.1\./) },
      ]);
      expect(throwRoutes(node)).toContain(ip);
      expect(await ping(pod, "192.0.2.1")).toMatchObject({ received: 3 });
    });

    test("check and status agree, and check sees what is amiss", async () => {
      const { pod, ip } = attached;
      must("status", pod);
      // And STATUS from 1.1.0 on; before, libcni asks nobody.
      node.must(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", node.stateDir]);
      const { exitCode, stderr } = cnitool("status", pod);
      node.must(["umount", node.stateDir]);
      expect([exitCode, stderr.includes(node.stateDir)]).toEqual(
        cniVersion === "1.1.0" ? [1, true] : [0, false],
      );
      // The specification has CHECK from 0.4.0 on.
      if (cniVersion === "0.3.1") {
        expect(cnitool("check", pod).stderr).toContain("does not support the CHECK command");
        return;
      }
      must("check", pod);
      node.must(["ip", "route", "delete", "throw", ip, "table", "18099"]);
      expect(cnitool("check", pod)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(ip) });
      expect(await node.wg(["sync"])).toMatchObject({ exitCode: 0 });
      must("check", pod);
    });

    test("gc without a list of what is valid deletes what libcni knows, and nothing that it does not", async () => {
      const other = add(name("b"));
      // As if another runtime had added it: libcni removes all that it has noted itself.
      const ofOther = rows(node).attachments.find(({ netns }) => netns === other.pod.netns);
      node.must(["rm", `${cache}/${network.name}-${ofOther.container_id}-eth0`]);
      must("gc", attached.pod);
      expect(throwRoutes(node)).not.toContain(attached.ip);
      expect(rows(node).attachments).toMatchObject([{ netns: other.pod.netns }]);
      expect(await ping(other.pod, "192.0.2.1")).toMatchObject({ received: 3 });
      must("del", other.pod);
    });

    test("del may be repeated, and nothing is left", () => {
      must("del", attached.pod);
      attached.pod.remove();
      must("del", attached.pod);
      expect(rows(node)).toEqual(noRows);
      expect(leases(node)).toEqual([]);
      expect(snapshot(node)).toEqual(before);
    });
  });
});
