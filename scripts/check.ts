// The one gate, `npm run check`: types, lint and format, import ranks, file
// lengths, what is made of other files. One line for each; details only of what fails. Changes nothing.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { checkClocks } from "./clocks.ts";
import { checkManifests } from "./manifests.ts";
import { ok, seconds } from "./outcome.ts";
import { checkRanks } from "./ranks.ts";
import { checkReference } from "./reference.ts";
import { red } from "./stage/screen.ts";

const root = resolve(import.meta.dir, "..");
const maxFileLines = 400;

/** Each returns what is wrong; nothing when all is well. */
const gates: Record<string, () => string> = {
  types: () => output(["node_modules/.bin/tsc", "-p", ".", "--pretty", "false"]),
  "lint and format": () =>
    output(["node_modules/.bin/biome", "check", "--colors=off", "--error-on-warnings", "."]),
  "import ranks": () => checkRanks(root).join("\n"),
  "file lengths": () => longFiles().join("\n"),
  clocks: () => checkClocks(root).join("\n"),
  manifests: () => checkManifests().join("\n"),
  reference: () => checkReference().join("\n"),
};

/** What a program that failed wrote. */
function output(argv: string[]): string {
  const done = Bun.spawnSync(argv, { cwd: root, stdout: "pipe", stderr: "pipe", timeout: 120_000 });
  if (done.exitCode === 0) return "";
  return (
    `${done.stdout}${done.stderr}`.trim() ||
    `${argv[0]} failed without a word (${done.signalCode ?? done.exitCode})`
  );
}

function longFiles(): string[] {
  const complaints: string[] = [];
  for (const file of new Bun.Glob("{src,test,scripts}/**/*.ts").scanSync(root)) {
    const lines = readFileSync(join(root, file), "utf8").split("\n").length - 1;
    if (lines > maxFileLines) complaints.push(`${file}: ${lines} lines, at most ${maxFileLines}: split it`);
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
