// The commands of the documents work when they are copied by hand, in the order of the page.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { describeKernel } from "../kernel/support/gate.ts";
import { Lab } from "../lab/lab.ts";
import type { Node } from "../lab/node.ts";
import { repository } from "../lab/paths.ts";
import { type ConfList, readConfList } from "../lab/runtime.ts";
import { waitUntil } from "../lab/wait.ts";
import { type Block, listPages, needs, places, prompt, readBlocks, shellBlocks } from "./support/pages.ts";
import { Reader } from "./support/reader.ts";

/** Each row is what somebody reads, one page after the other, on two fresh machines. */
const journeys: readonly (readonly string[])[] = [
  [
    "README.md",
    "docs/guides/host-encryption.md",
    "docs/guides/records-directory.md",
    "docs/guides/key-rotation.md",
  ],
  ["docs/install/hosts.md", "docs/guides/uninstall.md"],
];

const pages = listPages();
const markers = [...needs.map((need) => `needs: ${need}`), ...places.map((place) => `on: ${place}`)];

test("every marker of a command block is one of the list, and each of the list is used", () => {
  const used = pages.flatMap((page) => shellBlocks(page).flatMap(({ marker }) => marker ?? []));
  expect([...new Set(used)].sort()).toEqual(markers.toSorted());
});

test("every page with commands that need nothing is read in a journey", () => {
  const isRunnable = (page: string) => shellBlocks(page).some(({ marker }) => !marker?.startsWith("needs: "));
  expect(pages.filter(isRunnable)).toEqual(journeys.flat().sort());
});

test("a block with a prompt is one of commands", () => {
  for (const page of pages)
    for (const { language, code, line } of readBlocks(page))
      if (language !== "console")
        expect({ page, line, hasPrompt: code.startsWith(prompt) }).toMatchObject({ hasPrompt: false });
});

test("the refused rollout is shown as `wg-cni rollout` prints it", () => {
  const shown = readBlocks("docs/guides/rollout.md").find(({ language }) => language === "console");
  const [, ...output] = (shown as Block).code.split("\n");
  const golden = readFileSync(`${repository}/test/cli/golden/rollout-refused.txt`, "utf8");
  expect(output.join("\n")).toBe(golden.trimEnd());
});

test("every block of JSON in the documents is valid", () => {
  for (const page of pages)
    for (const { language, code } of readBlocks(page))
      if (language === "json") expect(JSON.parse(code)).toBeObject();
});

describeKernel("commands of the documents", () => {
  for (const journey of journeys) {
    test(`${journey.join(", then ")}: every command succeeds`, async () => {
      using lab = await Lab.create("docs");
      const reader = await Reader.create(lab);
      for (const page of journey) {
        await reader.follow(page);
        if (page === journey[0]) await expectPodsReachEachOther(reader.nodes);
      }
    });
  }
});

/** A pod on each node, by the network that the page has made for the runtime. */
async function expectPodsReachEachOther([one, two]: readonly [Node, Node]): Promise<void> {
  const networks = [one, two].map(readNetwork) as [ConfList, ConfList];
  const options = { binDir: "/opt/cni/bin" };
  const pods = [one.pod("pod-1"), two.pod("pod-2")] as const;
  await one.runtime.add(networks[0], pods[0], options);
  await two.runtime.add(networks[1], pods[1], options);
  expect(pods[0].must(["ip", "route", "show", "default"])).toContain("default via");
  const ping = ["ping", "-c1", "-W1", pods[1].ip(4)];
  await waitUntil(async () => (await pods[0].run(ping)).exitCode === 0, {
    what: "the pods reach each other",
  });
  expect(shapeOf(one.must(["/opt/cni/bin/wg-cni", "status"]))).toEqual(shapeOf(sampleStatus()));
  // There is no other way: the nodes have no route of their own to the pods.
  expect(one.must(["ip", "route", "get", pods[1].ip(4)])).toContain("dev wg-cni-");
  await one.runtime.del(networks[0], pods[0], options);
  await two.runtime.del(networks[1], pods[1], options);
}

/** The README's sample. */
function sampleStatus(): string {
  const found = readBlocks("README.md").filter(({ code }) => code.startsWith("node "));
  expect(found).toHaveLength(1);
  return (found[0] as Block).code;
}

/** The words of headings, and the first word of every other line. */
function shapeOf(status: string): string[] {
  const lines = status.trim().split("\n");
  return lines.map((line) => (/^[A-Z]/.test(line) ? line.replaceAll(/ +/g, " ") : line.replace(/ .*/, "")));
}

function readNetwork(node: Node): ConfList {
  const directory = node.outsidePath("/etc/cni/net.d");
  const [name = ""] = readdirSync(directory).filter((one) => one.endsWith(".conflist"));
  return readConfList(`${directory}/${name}`);
}
