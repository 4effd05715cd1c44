// Builds plugin-bin/wg-cni: esbuild bundles the sources, Bun's compiler makes one executable of them, and the names of the environment
// variables by which a Bun executable can be turned into something else are
// made unreachable. Same sources, same bytes.
//
//   scripts/bun scripts/build.ts [--arch x64|arm64] [--out FILE]
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";
import minimist from "minimist";
import { makeRecordable, recordOrder } from "./bytecode-order.ts";
import { bunPackages, compile, hostArch } from "./compile.ts";
import { type Arch, refuseEngineOptions } from "./engine-options.ts";

const root = resolve(import.meta.dir, "..");

/**
 * Variables by which a Bun executable runs other code, opens a debugger or writes to a file, each
 * a name or the start of one. engine-options.ts has those whose name is not one text in the executable.
 */
const refusedVariables = ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT", "BUN_BYTECODE"];

/** The files that the CNI path imports only when it needs them. */
const onDemand = ["src/cli/run.ts", "src/reconcile/repair.ts", "src/reconcile/pod-firewall.ts"];
/** Each of these becomes one file, whole, with all that it imports otherwise. The second does a call that no server takes. */
const whole = ["src/main.ts", "src/cni/main.ts"];

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
 * The CNI path becomes two files, each whole: a split one costs 1.5 ms more at
 * every call, since each chunk is a module to link. The files that it loads on demand
 * are a bundle with chunks of its own. Each has copies of the shared code: only
 * plain values and functions cross between them.
 */
async function bundle(outdir: string): Promise<void> {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const options = {
    absWorkingDir: root,
    bundle: true,
    minify: true,
    platform: "node",
    target: "esnext",
    format: "esm",
    external: ["bun:*"],
    // The Kubernetes client's HTTP library: only its configuration is used, requests are the runtime's (8 MB of memory).
    alias: { undici: join(root, "scripts/no-undici.ts") },
    define: { WG_CNI_VERSION: JSON.stringify(version), WG_CNI_BUILD: JSON.stringify(digestOfSources()) },
    outdir,
    logLevel: "warning",
  } satisfies BuildOptions;
  const entries = (paths: readonly string[]) =>
    Object.fromEntries(paths.map((path) => [chunkName(path), join(root, path)]));
  await build({ ...options, entryPoints: entries(whole), plugins: [leaveOut([...whole, ...onDemand])] });
  await build({ ...options, entryPoints: entries(onDemand), splitting: true });
}

/** Differs for builds of different sources, also of one version. */
function digestOfSources(): string {
  const hash = createHash("sha256");
  for (const path of [...new Bun.Glob("src/**/*.ts").scanSync(root), "package-lock.json"].sort())
    hash.update(`${path}\n`).update(readFileSync(join(root, path)));
  return hash.digest("hex").slice(0, 16);
}

function chunkName(path: string): string {
  return path.slice("src/".length).replace("/", "-").replace(/\.ts$/, "");
}

/** Dynamic imports of `paths` stay imports, of the second bundle's files; any other is a mistake. */
function leaveOut(paths: readonly string[]): Plugin {
  return {
    name: "leave-out",
    setup: ({ onResolve }) => {
      onResolve({ filter: /\.ts$/ }, ({ kind, path, resolveDir }) => {
        if (kind !== "dynamic-import") return undefined;
        const name = relative(root, join(resolveDir, path));
        if (!paths.includes(name))
          throw new Error(`${name} is imported on demand: add it to onDemand in scripts/build.ts`);
        return { path: `./${chunkName(name)}.js`, external: true };
      });
    },
  };
}

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
