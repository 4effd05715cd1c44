// The commands of the documents work when they are copied by hand, in the order of the page.
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describeKernel } from "../kernel/support/gate.ts";
import type { Node } from "../lab/node.ts";
import { repository } from "../lab/paths.ts";
import { type ConfList, readConfList } from "../lab/runtime.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLabPerTest } from "../lab/with-lab.ts";
import {
  type Block,
  isRunInPlace,
  listPages,
  type Marker,
  needs,
  places,
  prompt,
  readBlocks,
  shellBlocks,
} from "./support/pages.ts";
import { Reader } from "./support/reader.ts";

/** Each row is what somebody reads, one page after the other, on two fresh machines. */
const journeys: readonly (readonly string[])[] = [
  [
    "README.md",
    "docs/guides/host-encryption.md",
    "docs/guides/records-directory.md",
    "docs/guides/key-rotation.md",
  ],
  ["docs/install/hosts.md", "docs/operations/metrics.md", "docs/guides/uninstall.md"],
];

const pages = listPages();
/** The languages of blocks: commands, data, and what is no language, as drawings and output. */
const languages = ["", "console", "json", "sh"];

/** The command blocks with a marker of a kind. */
function marked(kind: Marker["kind"]): { page: string; value: string; block: Block }[] {
  return pages.flatMap((page) =>
    readBlocks(page).flatMap((block) =>
      block.marker?.kind === kind ? [{ page, value: block.marker.value, block }] : [],
    ),
  );
}

test("every place and every need of a command block is one of the list, and each of the list is used", () => {
  const used = (kind: Marker["kind"]) => [...new Set(marked(kind).map(({ value }) => value))].sort();
  expect({ on: used("on"), needs: used("needs") }).toEqual({
    on: [...places].sort(),
    needs: [...needs].sort(),
  });
});

test("every page with commands that need nothing is read in a journey", () => {
  const isRunnable = (page: string) => shellBlocks(page).some(isRunInPlace);
  expect(pages.filter(isRunnable)).toEqual(journeys.flat().sort());
});

test("every block that another test runs names a file that takes blocks of the page", () => {
  expect(marked("run by").length).toBeGreaterThan(0);
  for (const { page, value, block } of marked("run by")) {
    const file = `${repository}/${value}`;
    const text = existsSync(file) ? readFileSync(file, "utf8") : "";
    const takes = /\.take\(\s*"([^"]+)"/g;
    expect(
      [...text.matchAll(takes)].map(([, taken]) => taken),
      `${page}:${block.line}`,
    ).toContain(page);
  }
});

test("every block is in a language that tests know", () => {
  const used = pages.flatMap((page) => readBlocks(page).map(({ language }) => language));
  expect([...new Set(used)].sort()).toEqual(languages);
});

test("a block without a language has no commands, except for the synopses of the reference", () => {
  const command = /^(wg-cni|kubectl|helm|podman|npm|apt-get|systemctl|ip|nft|wg|curl|cp|rm|\.\/\S+) /m;
  for (const page of pages.filter((path) => !path.startsWith("docs/reference/")))
    for (const { language, code, line } of readBlocks(page))
      if (language === "")
        expect({ page, line, command: command.exec(code)?.[0] }).toMatchObject({ command: undefined });
});

test("a block with a prompt is one of commands", () => {
  for (const page of pages)
    for (const { language, code, line } of readBlocks(page))
      if (language !== "console")
        expect({ page, line, hasPrompt: code.startsWith(prompt) }).toMatchObject({ hasPrompt: false });
});

test("every output that a golden file has is shown as it is there", () => {
  for (const { value, page } of marked("as in")) {
    const [shown] = shellBlocks(page).filter(({ marker }) => marker?.value === value);
    expect(shown?.output, page).toBe(readFileSync(`${repository}/${value}`, "utf8").trimEnd());
  }
});

test("every block of JSON in the documents is valid", () => {
  for (const page of pages)
    for (const { language, code } of readBlocks(page))
      if (language === "json") expect(JSON.parse(code)).toBeObject();
});

describeKernel("commands of the documents", () => {
  const lab = withLabPerTest("docs");
  for (const journey of journeys) {
    test(`${journey.join(", then ")}: every command succeeds`, async () => {
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
  // The agents try the other slot now: for a moment its keepalive is written in the store, and not in the kernel.
  const status = () => one.exec(["/opt/cni/bin/wg-cni", "status"]);
  await waitUntil(() => status().exitCode === 0, { what: () => `nothing is pending: ${status().stdout}` });
  expect(shapeOf(status().stdout)).toEqual(shapeOf(sampleStatus()));
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
