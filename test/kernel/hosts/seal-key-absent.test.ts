// A node whose /etc is made anew at each boot has lost its seal key, and with it the
// way to its private keys. What is still in the kernel is sealed anew; with records
// that are published the agent makes new keys; without, the node says what to do and
// no route leads into a device without a key. A file that is there and cannot be used
// changes no key: that is the control.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import { waitUntil } from "../../lab/wait.ts";
import { describeKernel } from "../support/gate.ts";
import { killBehind, wgDump, wgJson, wgMust } from "../support/mesh-reference.ts";
import { RebootScene, volatileSealKey as sealKey } from "./support/reboot.ts";

/** A boot, handshakes and probes on a busy machine. */
const testMs = 180_000;

const keysOf = async ({ n1 }: RebootScene) =>
  (await wgJson<NodeRecord>(n1, ["node", "show"])).slots.map(({ publicKey }) => publicKey);

/** By table: none leads into a device of ours. */
function routes({ n1 }: RebootScene): string {
  return ["18098", "18099"].map((table) => n1.exec(["ip", "route", "show", "table", table]).stdout).join("");
}

describeKernel("a seal key that is absent, with records that are published", () => {
  let scene: RebootScene;
  beforeAll(async () => {
    scene = await RebootScene.create({ mode: "strict", sealKey });
  }, testMs);
  afterAll(() => scene?.[Symbol.dispose]());

  test(
    "while the devices have their keys, they are sealed anew, and nothing else changes",
    async () => {
      const before = await keysOf(scene);
      scene.n1.script([`rm ${sealKey}`]);
      await wgMust(scene.n1, ["sync"]);
      expect(existsSync(scene.n1.outsidePath(sealKey))).toBe(true);
      expect(await keysOf(scene)).toEqual(before);
      expect(await wgJson(scene.n1, ["sync"])).toMatchObject({ writes: 0 });
      // Sealed under the new key: devices that are lost come back with their old ones.
      scene.n1.script(["wg-cni-a", "wg-cni-b"].map(killBehind));
      const there = () => Object.values(wgDump(scene.n1)).map(({ publicKey }) => publicKey);
      const isAsBefore = () => there().toSorted().join() === before.toSorted().join();
      await waitUntil(isAsBefore, { what: () => `the devices have their keys, not ${there()}` });
      await scene.encryptsEverywhere();
    },
    testMs,
  );

  test(
    "after a boot the agent makes new keys and publishes them, and all of it is encrypted",
    async () => {
      const before = await keysOf(scene);
      await scene.reboot();
      const { level } = await scene.agent.waitFor("this node has new keys");
      expect(level).toBe("warn");
      const after = await keysOf(scene);
      for (const key of after) expect(before).not.toContain(key);
      await scene.addPod("anew");
      await scene.answersEverywhere();
      expect(await scene.readable()).toBe(0);
      expect((await scene.finding("seal key"))?.level).toBe("ok");
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
      const before = await keysOf(scene);
      await scene.reboot((node) => node.script(["mkdir -p /etc/wg-cni", command]));
      const status = await scene.n1.wg(["status", "--json"]);
      expect(status.exitCode).toBe(3);
      expect((JSON.parse(status.stdout) as { faults: object[] }).faults).toHaveLength(2);
      expect((await scene.finding("seal key"))?.level).toBe("fail");
      expect(await keysOf(scene)).toEqual(before);
      expect(routes(scene)).not.toContain("dev wg-cni");
      expect(await scene.addPod("refused").catch(() => "refused")).toBe("refused");
    },
    testMs,
  );
});

describeKernel("a seal key that is absent, with records that go by hand", () => {
  let scene: RebootScene;
  beforeAll(async () => {
    scene = await RebootScene.create({ mode: "permissive", sealKey, announced: false });
  }, testMs);
  afterAll(() => scene?.[Symbol.dispose]());

  test(
    "no key is made, no route leads into a device without one, and all say so",
    async () => {
      const before = await keysOf(scene);
      await scene.reboot();
      expect(await keysOf(scene)).toEqual(before);
      expect(existsSync(scene.n1.outsidePath(sealKey))).toBe(false);
      expect(routes(scene)).not.toContain("dev wg-cni");
      expect(routes(scene)).toContain("throw 10.244.2.0/24");
      const status = await scene.n1.wg(["status", "--json"]);
      expect(status.exitCode).toBe(3);
      expect(status.stdout).toContain("--new-keys");
      expect((await scene.finding("slots"))?.level).toBe("fail");
      await scene.addPod("told");
      const log = scene.n1.must(["cat", `${scene.n1.stateDir}/plugin.log`]);
      expect(log).toContain(sealKey);
    },
    testMs,
  );

  test(
    "the way that the message shows leads on",
    async () => {
      await wgMust(scene.n1, ["up", "--new-keys"]);
      await scene.exchange();
      await scene.encryptsEverywhere();
      await scene.answersEverywhere();
    },
    testMs,
  );
});
