// A lab's control group goes with it, whichever way it ends, and so does all that
// runtimes have made in there.

import { expect, test } from "bun:test";
import { describeKernel } from "../kernel/support/gate.ts";
import { Enclosure } from "../runtime/support/enclosure.ts";
import { hierarchiesOfVersion1, hierarchyRoot, mountGroups } from "./control-groups.ts";
import { Lab } from "./lab.ts";
import { repository } from "./paths.ts";
import { waitUntil } from "./wait.ts";

const inAGroup = "mkdir -p /sys/fs/cgroup/a/b; echo $$ >/sys/fs/cgroup/a/b/cgroup.procs; exec sleep 60";

describeKernel("the control group of a lab", () => {
  test("is a node's own root, and gone with the lab and all that runs in it", async () => {
    const lab = await Lab.create("groups", { hasControlGroup: true });
    const enclosure = Enclosure.create(lab, await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] }));
    expect(enclosure.must(["grep", "^0:", "/proc/self/cgroup"])).toBe("0::/runtime\n");
    enclosure.start(["sh", "-euc", inAGroup]);
    const busy = () => enclosure.must(["cat", "/sys/fs/cgroup/cgroup.events"]).includes("populated 1");
    await waitUntil(busy, { what: "a process is in the group" });
    expect(existsGroup(lab.controlGroup)).toBe(true);
    lab[Symbol.dispose]();
    expect(existsGroup(lab.controlGroup)).toBe(false);
  });

  test("is in every hierarchy of version 1 too, when it is asked for, and gone with the lab", async () => {
    const lab = await Lab.create("controllers", { hasControllers: true });
    expect(lab.hierarchies).toEqual(hierarchiesOfVersion1());
    const group = (hierarchy: string) => `${hierarchyRoot(hierarchy)}/${lab.controlGroup}`;
    const join = lab.hierarchies.map((hierarchy) => `echo $$ >${group(hierarchy)}/cgroup.procs;`);
    lab.wire.start(["sh", "-euc", `${join.join(" ")} exec sleep 60`]);
    const members = (hierarchy: string) => lab.wire.must(["cat", `${group(hierarchy)}/cgroup.procs`]);
    const areIn = () => lab.hierarchies.every((hierarchy) => members(hierarchy) !== "");
    await waitUntil(areIn, { what: "a process is in all groups" });
    lab[Symbol.dispose]();
    expect(lab.hierarchies.filter((hierarchy) => existsGroup(lab.controlGroup, hierarchy))).toEqual([]);
    expect(existsGroup(lab.controlGroup)).toBe(false);
  });

  test("is gone after the test process was killed", async () => {
    const script = `
      import { Lab } from "${repository}/test/lab/lab.ts";
      import { Enclosure } from "${repository}/test/runtime/support/enclosure.ts";
      const lab = await Lab.create("killed", { hasControllers: true });
      const enclosure = Enclosure.create(lab, await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] }));
      enclosure.start(["sh", "-euc", ${JSON.stringify(inAGroup)}]);
      console.log(lab.controlGroup);
      await Bun.sleep(60_000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    const { value } = await child.stdout.getReader().read();
    const group = new TextDecoder().decode(value).trim();
    expect(existsGroup(group)).toBe(true);
    child.kill("SIGKILL");
    await waitUntil(() => !existsGroup(group), { what: `the end of ${group}`, everyMs: 100 });
    for (const hierarchy of hierarchiesOfVersion1()) {
      const isGone = () => !existsGroup(group, hierarchy);
      await waitUntil(isGone, { what: `the end of ${group} of ${hierarchy}`, everyMs: 100 });
    }
  });
});

/** Looked for where it is, since a machine may have groups mounted nowhere. */
function existsGroup(name: string | undefined, hierarchy?: string): boolean {
  const script = `${mountGroups("/run", hierarchy)}; [ -d "/run/$0" ] && echo yes || echo no`;
  const done = Bun.spawnSync(["unshare", "--mount", "sh", "-euc", script, `${name}`]);
  return done.stdout.toString() === "yes\n";
}
