// A pod ends while a sync is under way that has read its record: the sync makes the pod's routes anew behind the DEL.
// Whichever of the two is later takes them back, so that nothing of the pod is left.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { resolve } from "node:path";
import { holdLock } from "../../lab/held-lock.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPod, removePod } from "../support/hosts.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";
import { linkNames, throwRoutes } from "../support/reference.ts";

setDefaultTimeout(60_000);

const lateSync = resolve(import.meta.dir, "../support/late-sync.ts");

describeKernel("a pod that ends while a sync is under way", () => {
  const lab = withLab("ended-pod");
  let node: Node;
  beforeAll(async () => {
    node = await addNode(lab, 1);
    await wgMust(node, ["up", ...node.upArguments]);
  });

  /** Those of single addresses: the node's own networks have routes of the same kind. */
  const podRoutes = () => throwRoutes(node).filter((dst) => !dst.includes("/"));

  /** Starts a sync that has planned when this resolves. A DEL takes the routes first, so that sync makes them anew. */
  const planSync = async (pauseMs: string) => {
    const routes = podRoutes();
    expect(routes.length).toBeGreaterThan(1);
    for (const ip of routes) node.must(["ip", "route", "delete", "throw", ip, "table", "18099"]);
    const sync = node.start([process.execPath, lateSync, node.stateDir, pauseMs], { interactive: true });
    await sync.saidOnStderr("planned");
    const apply = async () => {
      await sync.closeInput();
      await sync.saidOnStderr("applied");
    };
    return { routes, apply, finished: sync.finished };
  };

  test.each(["standalone", "chained"] as const)("%s: the sync is later", async (role) => {
    const pod = await addPod(node, `late-${role}`, role);
    const { routes, apply, finished } = await planSync("1000");
    await removePod(node, pod, role);
    expect(podRoutes()).toEqual([]);
    await apply();
    expect(podRoutes()).toEqual(routes);
    expect((await finished).exitCode).toBe(0);
    expect(podRoutes()).toEqual([]);
  });

  test("the DEL is later: it waits to remove the record", async () => {
    const before = linkNames(node);
    const pod = await addPod(node, "both", "standalone");
    const { apply, finished } = await planSync("0");
    const lock = await holdLock(node, `${node.stateDir}/write.lock`);
    const removed = removePod(node, pod, "standalone");
    // The link goes first, with the routes.
    await waitUntil(() => linkNames(node).length === before.length, { what: "the DEL has removed the link" });
    await apply();
    await lock.stop();
    await removed;
    expect((await finished).exitCode).toBe(0);
    expect(podRoutes()).toEqual([]);
  });
});
