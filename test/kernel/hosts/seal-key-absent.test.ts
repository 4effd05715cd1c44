// A node whose /etc is made anew at each boot has lost its seal key, and with it the
// way to its private keys. What is still in the kernel is sealed anew; with records
// that are published the agent makes new keys; without, the node says what to do and
// no route leads into a device without a key. A file that is there and cannot be used
// changes no key: that is the control.
import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { killBehind, wgDump, wgJson, wgMust } from "../support/mesh-reference.ts";
import { RebootContext, volatileSealKey as sealKey } from "./support/reboot.ts";

/** A boot, handshakes and probes on a busy machine. */
const testMs = 180_000;

const keysOf = async ({ n1 }: RebootContext) =>
  (await wgJson<NodeRecord>(n1, ["node", "show"])).slots.map(({ publicKey }) => publicKey);

/** By table: none leads into a device of ours. */
function routes({ n1 }: RebootContext): string {
  return ["18098", "18099"].map((table) => n1.exec(["ip", "route", "show", "table", table]).stdout).join("");
}

describeKernel("a seal key that is absent, with records that are published", () => {
  const lab = withLab("reboot");
  let context: RebootContext;
  beforeAll(async () => {
    context = await RebootContext.create(lab, { mode: "strict", sealKey });
  }, testMs);

  test(
    "while the devices have their keys, they are sealed anew, and nothing else changes",
    async () => {
      const before = await keysOf(context);
      context.n1.script([`rm ${sealKey}`]);
      await wgMust(context.n1, ["sync"]);
      expect(existsSync(context.n1.outsidePath(sealKey))).toBe(true);
      expect(await keysOf(context)).toEqual(before);
      expect(await wgJson(context.n1, ["sync"])).toMatchObject({ writes: 0 });
      // Sealed under the new key: devices that are lost come back with their old ones.
      context.n1.script(["wg-cni-a", "wg-cni-b"].map(killBehind));
      const there = () => Object.values(wgDump(context.n1)).map(({ publicKey }) => publicKey);
      const isAsBefore = () => there().toSorted().join() === before.toSorted().join();
      await waitUntil(isAsBefore, { what: () => `the devices have their keys, not ${there()}` });
      await context.encryptsEverywhere();
    },
    testMs,
  );

  test(
    "after a boot the agent makes new keys and publishes them, and all of it is encrypted",
    async () => {
      const before = await keysOf(context);
      await context.reboot();
      const { level } = await context.agent.waitFor("this node has new keys");
      expect(level).toBe("warn");
      const after = await keysOf(context);
      for (const key of after) expect(before).not.toContain(key);
      await context.addPod("anew");
      await context.answersEverywhere();
      expect(await context.readable()).toBe(0);
      expect((await context.finding("seal key"))?.level).toBe("ok");
    },
    testMs,
  );

  test.each([
    ["is another one", `head -c 32 /dev/urandom >${sealKey}; chmod 600 ${sealKey}`],
    ["is cut short", `head -c 7 /dev/urandom >${sealKey}; chmod 600 ${sealKey}`],
    ["is a directory", `mkdir ${sealKey}`],
  ])(
    "a seal key that %s changes no key (control)",
    async (_, command) => {
      const before = await keysOf(context);
      await context.reboot((node) => node.script(["mkdir -p /etc/wg-cni", command]));
      const status = await context.n1.wg(["status", "--json"]);
      expect(status.exitCode).toBe(3);
      expect((JSON.parse(status.stdout) as { faults: object[] }).faults).toHaveLength(2);
      expect((await context.finding("seal key"))?.level).toBe("fail");
      expect(await keysOf(context)).toEqual(before);
      expect(routes(context)).not.toContain("dev wg-cni");
      expect(await context.addPod("refused").catch(() => "refused")).toBe("refused");
    },
    testMs,
  );
});

describeKernel("a seal key that is absent, with records that go by hand", () => {
  const lab = withLab("reboot");
  let context: RebootContext;
  beforeAll(async () => {
    context = await RebootContext.create(lab, { mode: "permissive", sealKey, announced: false });
  }, testMs);

  test(
    "no key is made, no route leads into a device without one, and all say so",
    async () => {
      const before = await keysOf(context);
      await context.reboot();
      expect(await keysOf(context)).toEqual(before);
      expect(existsSync(context.n1.outsidePath(sealKey))).toBe(false);
      expect(routes(context)).not.toContain("dev wg-cni");
      expect(routes(context)).toContain("throw 10.244.2.0/24");
      const status = await context.n1.wg(["status", "--json"]);
      expect(status.exitCode).toBe(3);
      expect(status.stdout).toContain("--new-keys");
      expect((await context.finding("slots"))?.level).toBe("fail");
      await context.addPod("told");
      const log = context.n1.must(["cat", `${context.n1.stateDir}/plugin.log`]);
      expect(log).toContain(sealKey);
    },
    testMs,
  );

  test(
    "the way that the message shows leads on",
    async () => {
      await wgMust(context.n1, ["up", "--new-keys"]);
      await context.exchange();
      await context.encryptsEverywhere();
      await context.answersEverywhere();
    },
    testMs,
  );
});
