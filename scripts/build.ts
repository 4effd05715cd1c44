// Builds plugin-bin/wg-cni: esbuild bundles the sources (bundle.ts), Bun's compiler makes one executable of
// them, and the names of the environment variables by which a Bun executable can be turned into something else
// are made unreachable. Same sources, same bytes.
//
//   scripts/bun scripts/build.ts [--arch x64|arm64] [--out FILE]
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import minimist from "minimist";
import { bundle } from "./bundle.ts";
import { makeRecordable, recordOrder } from "./bytecode-order.ts";
import { bunPackages, compile, hostArch } from "./compile.ts";
import { type Arch, refuseEngineOptions } from "./engine-options.ts";

const root = resolve(import.meta.dir, "..");

/**
 * Variables by which a Bun executable runs other code, opens a debugger, writes to a file, prints tokens, or
 * sends reports, each a name or the start of one. engine-options.ts has those whose name is not one text in the executable.
 */
const refusedVariables = [
  ...["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT", "BUN_BYTECODE"],
  ...["BUN_CONFIG_VERBOSE_FETCH", "BUN_CRASH_REPORT_URL", "BUN_ENABLE_CRASH_REPORTING"],
];

const args = minimist(process.argv.slice(2), { string: ["arch", "out"] });
const arch = (args["arch"] ?? hostArch) as Arch;
if (!(arch in bunPackages)) throw new Error(`unknown --arch "${arch}": x64 or arm64`);
const defaultName = arch === hostArch ? "wg-cni" : `wg-cni-${arch}`;
const outfile = resolve(args["out"] ?? join(root, "plugin-bin", defaultName));

const work = mkdtempSync(join(root, "node_modules", ".wg-cni-build-"));
try {
  const recorded = join(work, "recorded");
  for (const directory of [work, recorded]) await bundle(directory);
  makeRecordable(recorded);
  // The same name for every output: the compiler's bytes depend on it.
  const [recorder, compiled] = [join(recorded, "wg-cni"), join(work, "wg-cni")];
  compile(recorded, recorder, hostArch);
  compile(work, compiled, arch, recordOrder(recorder, recorded));
  refuseVariables(compiled);
  mkdirSync(dirname(outfile), { recursive: true });
  renameSync(compiled, outfile);
} finally {
  rmSync(work, { recursive: true, force: true });
}
const bytes = readFileSync(outfile);
const digest = createHash("sha256").update(bytes).digest("hex");
console.log(`${outfile}  ${(bytes.length / 1e6).toFixed(1)} MB  sha256 ${digest}`);

/**
 * Overwrites the first byte of each refused name with NUL, which no environment
 * entry can hold: compared as bytes the name never matches, and as a C string
 * it is empty, which getenv(3) refuses. Never `strip` the result: it loses the program appended to it.
 */
function refuseVariables(file: string): void {
  const bytes = readFileSync(file);
  for (const name of refusedVariables) {
    let count = 0;
    for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) {
      bytes[at] = 0;
      count++;
    }
    if (count === 0) throw new Error(`${name} is not in the executable: has Bun renamed it?`);
  }
  refuseEngineOptions(bytes, arch);
  writeFileSync(file, bytes, { mode: 0o755 });
}
