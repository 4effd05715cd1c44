// A process that may open only a few files, which the caller decides: whatever it cannot open, and when, the
// answer is an error of CNI, and nothing is left.
import { beforeAll, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { pluginEnv, type Verb } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { snapshot } from "../support/reference.ts";

/** With fewer the engine itself does not start; more are enough for every verb. */
const limits = Array.from({ length: 14 }, (_, i) => i + 5);
const conf = { cniVersion: "1.1.0", name: "pods", type: "wg-cni" };
const ipam = { ranges: [[{ subnet: "10.9.0.0/24" }]] };

describeKernel("few descriptors", () => {
  const lab = withLab("descriptors");
  let node: Node;
  let pod: Pod;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    pod = node.pod("a");
  });

  const call = (verb: Verb, limit: number) =>
    node.run(["prlimit", `--nofile=${limit}`, binary], {
      ...{ stdin: JSON.stringify({ ...conf, ipam }), env: pluginEnv(verb, pod) },
    });

  test("an ADD succeeds or is refused by an error, and a DEL leaves nothing of it", async () => {
    const before = snapshot(pod);
    const codes: number[] = [];
    for (const limit of limits) {
      const { exitCode, stdout } = await call("ADD", limit);
      codes.push(exitCode);
      const answer = JSON.parse(stdout);
      if (exitCode !== 0) expect(answer).toMatchObject({ code: expect.any(Number), msg: expect.any(String) });
      expect((await call("DEL", 64)).exitCode).toBe(0);
      expect(snapshot(pod)).toEqual(before);
    }
    expect(codes[0]).toBe(1);
    expect(codes.at(-1)).toBe(0);
  });
});
