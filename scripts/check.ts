// Runs all checks of `npm run check`: types, lint and format, import ranks, file lengths, words, and
// generated files. It prints one line for each, and details only of those that fail. It changes nothing.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { checkClocks } from "./clocks.ts";
import { checkManifests } from "./manifests.ts";
import { ok, seconds } from "./outcome.ts";
import { checkRanks } from "./ranks.ts";
import { checkReference } from "./reference.ts";
import { red } from "./stage/screen.ts";
import { checkWords } from "./words.ts";

const root = resolve(import.meta.dir, "..");
/** Tests are tables of cases for the most part, and may be longer. */
const maxLines = { src: 300, scripts: 300, test: 400 } as const;
/** The files that may be longer, with the one thing that each is. */
const longFiles: Readonly<Record<string, string>> = {
  "src/linux/file.ts": "files by system calls",
  "src/netlink/nft/table.ts": "one conversation with the kernel",
  "src/netlink/objects.ts": "the objects of rtnetlink",
  "src/netlink/rtnl.ts": "the reads of rtnetlink",
  "src/state/store.ts": "the store's interface",
};

/** Each check returns its complaints as text, or an empty text. */
const gates: Record<string, () => string> = {
  types: () => output(["node_modules/.bin/tsc", "-p", ".", "--pretty", "false"]),
  "lint and format": () =>
    output(["node_modules/.bin/biome", "check", "--colors=off", "--error-on-warnings", "."]),
  "import ranks": () => checkRanks(root).join("\n"),
  "file lengths": () => complainOfLengths().join("\n"),
  clocks: () => checkClocks(root).join("\n"),
  words: () => checkWords(root).join("\n"),
  manifests: () => checkManifests().join("\n"),
  reference: () => checkReference().join("\n"),
};

/** Runs a program, and returns its output if it fails. */
function output(argv: string[]): string {
  const done = Bun.spawnSync(argv, { cwd: root, stdout: "pipe", stderr: "pipe", timeout: 120_000 });
  if (done.exitCode === 0) return "";
  return (
    `${done.stdout}${done.stderr}`.trim() ||
    `${argv[0]} failed without a word (${done.signalCode ?? done.exitCode})`
  );
}

function complainOfLengths(): string[] {
  const complaints: string[] = [];
  for (const [directory, max] of Object.entries(maxLines))
    for (const file of new Bun.Glob(`${directory}/**/*.ts`).scanSync(root)) {
      const lines = readFileSync(join(root, file), "utf8").split("\n").length - 1;
      const isNamed = longFiles[file] !== undefined;
      if (lines > max && !isNamed) complaints.push(`${file}: ${lines} lines, at most ${max}: split it`);
      if (lines <= max && isNamed) complaints.push(`${file}: ${lines} lines need no exception any more`);
    }
  return complaints.sort();
}

let failed = false;
for (const [name, gate] of Object.entries(gates)) {
  const start = performance.now();
  const complaint = gate().replaceAll(`${root}/`, "");
  console.log(`${complaint === "" ? ok : red("✗")} ${name.padEnd(16)} ${seconds(performance.now() - start)}`);
  if (complaint !== "") console.log(`\n${complaint}\n`);
  failed ||= complaint !== "";
}
process.exitCode = failed ? 1 : 0;
