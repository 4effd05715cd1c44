// State that another machine made: copies of n1's, taken while pods come and go and keys are rotated, are put on n2, as
// from a backup or a disk image. Each says whose it is, also if the copy was taken in the middle of a write; no pod of
// n1's is believed to be here; and `up` makes it this machine's, with the keys or with keys of its own.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPod, removePod } from "../support/hosts.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";
import { noRows, rows } from "../support/reference.ts";

/** Enough that pods, rotations and copies meet in many ways. */
const copies = 12;

interface Finding {
  readonly check: string;
  readonly level: "ok" | "warn" | "fail";
  readonly summary: string;
}

describeKernel("state of another machine", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("copied-state");
  let n1: Node;
  let n2: Node;

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    n1.script(["echo 11111111111111111111111111111111 >/etc/machine-id"]);
    n2.script([
      "echo 22222222222222222222222222222222 >/etc/machine-id",
      "cat /proc/sys/kernel/random/uuid >/run/boot_id",
      "mount --bind /run/boot_id /proc/sys/kernel/random/boot_id",
    ]);
    await wgMust(n1, ["up", ...n1.upArguments]);
    await n1.agent();
    await addPod(n1, "stays", "standalone");
    const work = [comeAndGo("a"), comeAndGo("b"), rotate()];
    for (let i = 0; i < copies; i++) {
      await Bun.sleep(100);
      n1.script([`cp -a ${n1.stateDir} ${copyOf(i)}`, `cp /etc/wg-cni/seal.key ${copyOf(i)}.key`]);
    }
    await Promise.all(work);
  });

  const copyOf = (i: number) => `${n1.sharedDirectory}/copy-${i}`;

  async function comeAndGo(name: string): Promise<void> {
    for (let i = 0; i < copies; i++)
      await removePod(n1, await addPod(n1, `${name}${i}`, "standalone"), "standalone");
  }

  async function rotate(): Promise<void> {
    for (let i = 0; i < 3; i++) await wgMust(n1, ["key", "rotate", "--compromised"]);
  }

  function restore(i: number): void {
    n2.script([
      `rm -rf ${n2.stateDir}`,
      `cp -a ${copyOf(i)} ${n2.stateDir}`,
      "mkdir -p /etc/wg-cni",
      `install -m 600 ${copyOf(i)}.key /etc/wg-cni/seal.key`,
    ]);
  }

  async function examine(): Promise<Record<string, Finding>> {
    const { stdout } = await n2.wg(["doctor", "--json"]);
    const { findings } = JSON.parse(stdout) as { findings: readonly Finding[] };
    return Object.fromEntries(findings.map((finding) => [finding.check, finding]));
  }

  async function identity(node: Node): Promise<{ name: string; keys: string[] }> {
    const { stdout } = await wgMust(node, ["node", "show", "--json"]);
    const { name, slots } = JSON.parse(stdout) as NodeRecord;
    return { name, keys: slots.flatMap(({ publicKey }) => publicKey ?? []) };
  }

  test("each copy says whose it is, and has no pod of the other machine", async () => {
    for (let i = 0; i < copies; i++) {
      restore(i);
      if ((await examine())["store"]?.level !== "ok") await wgMust(n2, ["doctor", "--repair"]);
      expect(await examine()).toMatchObject({
        store: { level: "ok" },
        "seal key": { level: "ok" },
        machine: { level: "fail", summary: expect.stringContaining("its name, n1, and its keys") },
      });
      expect(rows(n2)).toEqual(noRows);
    }
  });

  test("`up` takes the place of the other machine, and says that the keys stay", async () => {
    restore(copies - 1);
    const { warnings } = JSON.parse((await wgMust(n2, ["up", "--json"])).stdout) as { warnings: string[] };
    expect(warnings).toContainEqual(expect.stringContaining("--new-keys"));
    expect((await identity(n2)).name).toBe("n1");
    expect((await examine())["machine"]?.level).toBe("ok");
    await wgMust(n2, ["down"]);
  });

  test("an agent says so when it starts, and `up --node` makes it a node of its own, with its own keys", async () => {
    restore(copies - 1);
    const agent = await n2.agent();
    await agent.waitFor(({ message }) => message.includes("was made on another machine"), 10_000, 0);
    await wgMust(n2, ["up", ...n2.upArguments]);
    const [first, second] = [await identity(n1), await identity(n2)];
    expect(second.name).toBe("n2");
    expect(second.keys.filter((key) => first.keys.includes(key))).toEqual([]);
    expect((await examine())["machine"]?.level).toBe("ok");
    await agent.stop();
  });

  test("on the machine that made it, nothing is said", async () => {
    const { stdout } = await n1.wg(["doctor", "--json"]);
    const { findings } = JSON.parse(stdout) as { findings: readonly Finding[] };
    expect(findings.find(({ check }) => check === "machine")?.level).toBe("ok");
  });
});
