// Chained after the results that other main plugins print, real ones with their
// oddities: called as a runtime would call us after them, in a pod made by hand
// to fit.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import type { CniResult, ConfList } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { call, emptyNetns, refuse, succeed } from "../support/plugin.ts";
import { noRows, rows, snapshot, throwRoutes } from "../support/reference.ts";

interface Fixture {
  readonly conflist: ConfList;
  readonly ifname: string;
  readonly result: CniResult;
  readonly podIps: readonly string[];
}

const directory = `${import.meta.dir}/../../cni/fixtures`;
const fixtures = readdirSync(directory)
  .sort()
  .map((file) => {
    const fixture = JSON.parse(readFileSync(`${directory}/${file}`, "utf8")) as Fixture;
    return [file.replace(".json", ""), fixture] as const;
  });

describeKernel("chained after other main plugins", () => {
  const lab = withLab("fixtures");
  let node: Node;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
  });
  describe.each(fixtures)("%s", (name, fixture) => {
    const { conflist, ifname, result } = fixture;
    const { cniVersion } = conflist;
    const conf = { type: "wg-cni", name: conflist.name, cniVersion };
    const withResult = { ...conf, prevResult: result };
    const podIps = [...fixture.podIps].sort();
    const options = { ifname };
    let pod: Pod;
    let nodeBefore: string[];

    beforeAll(() => {
      pod = node.pod(name);
      const hostDev = result.interfaces
        ?.map((link) => link.name)
        .find((link) => /^(veth|eni|cali|gke)/.test(link));
      makeByHand(pod, { ifname, hostDev: hostDev ?? "azv0123456", ips: result.ips ?? [] });
      nodeBefore = snapshot(node);
    });
    afterAll(() => pod.remove());

    test("ADD prints the result unchanged and touches nothing of the pod", async () => {
      const podBefore = snapshot(pod);
      for (const time of ["first", "second"]) {
        const { json, stderr } = await succeed(node, "ADD", withResult, pod, options);
        expect({ time, json, stderr }).toEqual({ time, json: result as typeof json, stderr: "" });
        expect(throwRoutes(node)).toEqual(podIps);
      }
      expect(snapshot(pod)).toEqual(podBefore);
      expect(rows(node).attachments).toMatchObject([
        { role: "chained", ips: JSON.stringify(fixture.podIps) },
      ]);
    });

    test("CHECK passes if the version has it", async () => {
      if (["0.3.0", "0.3.1"].includes(cniVersion))
        expect(await refuse(node, "CHECK", withResult, pod, options)).toMatchObject({
          code: 1,
          msg: "config version does not allow CHECK",
        });
      else
        expect(await call(node, "CHECK", withResult, pod, options)).toMatchObject({
          exitCode: 0,
          stdout: "",
        });
    });

    test("DEL needs neither result nor namespace, and may be repeated", async () => {
      await succeed(node, "DEL", conf, pod, { ...options, ...emptyNetns });
      expect(throwRoutes(node)).toEqual([]);
      expect(rows(node)).toEqual(noRows);
      expect(snapshot(node)).toEqual(nodeBefore);
      await succeed(node, "DEL", ["0.3.0", "0.3.1"].includes(cniVersion) ? conf : withResult, pod, options);
      expect(snapshot(node)).toEqual(nodeBefore);
    });
  });
});
