// The demo in three acts: pod traffic in plaintext, the same traffic encrypted, and
// the proof from a capture of the wire. scripts/demo prepares and calls it. All
// of it happens in a lab (test/lab) that leaves nothing behind.

import { release } from "node:os";
import { Lab } from "../test/lab/lab.ts";
import { joinMesh, leaveMesh } from "../test/lab/mesh.ts";
import type { ConfList } from "../test/lab/runtime.ts";
import {
  type Cluster,
  createCluster,
  draw,
  encryptedLists,
  plaintextLists,
  startPods,
  stopPods,
} from "./stage/cluster.ts";
import { differences, machine, nodeState } from "./stage/found.ts";
import { measurePaths } from "./stage/paths.ts";
import { bold, dim, glyphs, green, heading, print, red, seconds, step, unspin } from "./stage/screen.ts";
import { collect, type Evidence, findDoubts, printComparison, printEvidence } from "./stage/wire.ts";

const start = performance.now();
if (process.getuid?.() !== 0) {
  console.error("The demo makes network namespaces and has to run as root.");
  process.exit(1);
}
const found = machine();
const lab = await Lab.create("demo");
for (const [name, code] of [["SIGINT", 130] as const, ["SIGTERM", 143] as const, ["SIGHUP", 129] as const]) {
  process.on(name, () => {
    unspin();
    lab[Symbol.dispose]();
    print(`\n  ${red("Interrupted.")} Everything is cleaned up.`);
    process.exit(code);
  });
}

let problems: string[];
try {
  problems = await play(lab);
} catch (error) {
  unspin();
  problems = [error instanceof Error ? error.message : String(error)];
} finally {
  lab[Symbol.dispose]();
}
problems.push(...differences(found, machine()).map((line) => `The machine is not as it was: ${line}`));
end(problems);

async function play(lab: Lab): Promise<string[]> {
  print();
  print(
    `  ${bold("wg-cni")}  ${dim(`pod traffic between nodes, encrypted ${glyphs.dot} kernel ${release()}, ${backend(lab)}`)}`,
  );

  heading("Act 1", "without wg-cni");
  const cluster = await step("three nodes on one bridge, plain routing between them", () =>
    createCluster(lab),
  );
  const plain = plaintextLists(cluster);
  const before = await act(cluster, plain, false);
  await step("pods stopped", () => stopPods(cluster, plain));

  heading("Act 2", "with wg-cni");
  const untouched = cluster.nodes.map(nodeState);
  await step("wg-cni up on every node, records exchanged", () => joinMesh(cluster.nodes));
  const chained = encryptedLists();
  const after = await act(cluster, chained, true);

  heading("Act 3", "proof");
  printComparison(before, after);
  const status = await cluster.nodes[0].wg(["status"]);
  print(`  ${dim("n1#")} wg-cni status`);
  for (const line of `${status.stdout}${status.stderr}`.trimEnd().split("\n")) print(`  ${line}`);
  print();
  await step("pods stopped, wg-cni down", async () => {
    await stopPods(cluster, chained);
    await leaveMesh(cluster.nodes);
  });
  const left = cluster.nodes.flatMap((node, i) =>
    differences(untouched[i] ?? [], nodeState(node)).map(
      (line) => `${node.name} is not as before wg-cni: ${line}`,
    ),
  );
  if (left.length === 0)
    print(`  ${green(glyphs.yes)} links, rules and routes of every node as before wg-cni`);
  return [...findDoubts(before, after), ...left];
}

/** Starts the pods of one configuration, sends traffic on every path and captures it on the wire. */
async function act(cluster: Cluster, lists: readonly ConfList[], encrypted: boolean): Promise<Evidence> {
  await step("six pods, two a node: ADD and CHECK of every plugin", () => startPods(cluster, lists));
  draw(cluster, lists, encrypted);
  const capture = await cluster.lab.capture();
  const outcome = await measurePaths(cluster);
  const evidence = await collect(capture, outcome);
  printEvidence(evidence);
  print();
  return evidence;
}

/** True if this kernel makes WireGuard devices, tried in the lab's own namespace. */
function backend(lab: Lab): string {
  const made = lab.wire.exec(["ip", "link", "add", "probe", "type", "wireguard"]).exitCode === 0;
  if (made) lab.wire.must(["ip", "link", "delete", "probe"]);
  return made ? "kernel WireGuard" : "userspace WireGuard";
}

function end(problems: readonly string[]): never {
  const time = seconds(performance.now() - start);
  print();
  for (const problem of problems) print(`  ${red(glyphs.no)} ${problem}`);
  if (problems.length === 0)
    print(`  ${green(bold(`${glyphs.yes} Nothing of a pod was readable between the nodes.`))}`);
  print(`  ${dim(`Everything is cleaned up. ${time}`)}`);
  print();
  process.exit(problems.length === 0 ? 0 : 1);
}
