// Builds plugin-bin/wg-cni: esbuild bundles the sources, Bun's compiler makes one executable of them, and the names of the environment
// variables by which a Bun executable can be turned into something else are
// made unreachable. Same sources, same bytes.
//
//   scripts/bun scripts/build.ts [--arch x64|arm64] [--out FILE]
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";
import minimist from "minimist";
import { fetchLocked, readLocked } from "./locked-package.ts";

const root = resolve(import.meta.dir, "..");
const hostArch = process.arch === "arm64" ? "arm64" : "x64";
const bunPackages = { x64: "@oven/bun-linux-x64", arm64: "@oven/bun-linux-aarch64" } as const;
type Arch = keyof typeof bunPackages;

/**
 * Variables by which a Bun executable runs other code or opens a debugger, each
 * a name or the start of one. BUN_JSC_* (engine tuning) stays: its name is not
 * one string in the executable, and it cannot load anything.
 */
const refusedVariables = ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT"];

/** The files that the CNI path imports only when it needs them. */
const onDemand = ["src/cli/run.ts", "src/reconcile/repair.ts", "src/reconcile/pod-firewall.ts"];

const args = minimist(process.argv.slice(2), { string: ["arch", "out"] });
const arch = (args["arch"] ?? hostArch) as Arch;
if (!(arch in bunPackages)) throw new Error(`unknown --arch "${arch}": x64 or arm64`);
const defaultName = arch === hostArch ? "wg-cni" : `wg-cni-${arch}`;
const outfile = resolve(args["out"] ?? join(root, "plugin-bin", defaultName));

const work = mkdtempSync(join(root, "node_modules", ".wg-cni-build-"));
try {
  await bundle(work);
  // The same name for every output: the compiler's bytes depend on it.
  const compiled = join(work, "wg-cni");
  compile(work, compiled);
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
 * The CNI path becomes one file, whole: a split one costs 1.5 ms more at every
 * call, since each chunk is a module to link. The files that it loads on demand
 * are a second bundle with chunks of its own and copies of the shared code: only
 * plain values cross between the two.
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
    define: { WG_CNI_VERSION: JSON.stringify(version) },
    outdir,
    logLevel: "warning",
  } satisfies BuildOptions;
  await build({
    ...options,
    entryPoints: { main: join(root, "src/main.ts") },
    plugins: [leaveOut(onDemand)],
  });
  const entryPoints = Object.fromEntries(onDemand.map((path) => [chunkName(path), join(root, path)]));
  await build({ ...options, entryPoints, splitting: true });
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

function compile(outdir: string, target: string): void {
  const flags = [
    "--compile",
    "--bytecode",
    "--format=esm",
    "--splitting",
    `--target=bun-linux-${arch}`,
    "--compile-jit-policy=1000",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--no-compile-autoload-tsconfig",
    "--no-compile-autoload-package-json",
    `--compile-executable-path=${bunExecutable(arch, outdir)}`,
  ];
  run([join(root, "scripts/bun"), "build", ...flags, "main.js", "--outfile", target], outdir);
}

/** The Bun that the result is made of: installed for this machine, fetched through npm for another. */
function bunExecutable(arch: Arch, work: string): string {
  const name = bunPackages[arch];
  const installed = join(root, "node_modules", name, "bin/bun");
  if (existsSync(installed)) return installed;
  const locked = readLocked(readFileSync(join(root, "package-lock.json"), "utf8"), name);
  const pack = (spec: string, directory: string) => run(["npm", "pack", "--silent", spec], directory);
  const tarball = fetchLocked(locked, join(root, ".cache"), pack);
  run(["tar", "-xzf", tarball, "package/bin/bun"], work);
  return join(work, "package/bin/bun");
}

function run(command: string[], cwd: string): void {
  const done = Bun.spawnSync(command, { cwd, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")} failed:\n${done.stderr}${done.stdout}`);
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
  writeFileSync(file, bytes, { mode: 0o755 });
}
