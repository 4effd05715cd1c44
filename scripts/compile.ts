// Compiles a bundle with Bun to one executable, in the way that suits a process that lives for milliseconds.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Arch } from "./engine-options.ts";
import { fetchLocked, readLocked } from "./locked-package.ts";

const root = resolve(import.meta.dir, "..");
export const hostArch: Arch = process.arch === "arm64" ? "arm64" : "x64";
export const bunPackages = { x64: "@oven/bun-linux-x64", arm64: "@oven/bun-linux-aarch64" } as const;

/**
 * Makes one executable of the `main.js` in a directory, and of what it imports. `order`: paths of records, the
 * most important first (bytecode-order.ts).
 */
export function compile(outdir: string, target: string, arch: Arch, order: readonly string[] = []): void {
  const flags = [
    "--compile",
    "--bytecode",
    ...order.map((record) => `--bytecode-order=${record}`),
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
  const locked = readLocked(readFileSync(join(root, "package-lock.json"), "utf8"), name);
  const installed = join(root, "node_modules", name);
  if (existsSync(installed)) {
    const { version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as {
      version: string;
    };
    if (version !== locked.version)
      console.error(
        `built with Bun ${version}, and package-lock.json names ${locked.version}: run \`npm ci\``,
      );
    return join(installed, "bin/bun");
  }
  const pack = (spec: string, directory: string) => run(["npm", "pack", "--silent", spec], directory);
  const tarball = fetchLocked(locked, join(root, ".cache"), pack);
  run(["tar", "-xzf", tarball, "package/bin/bun"], work);
  return join(work, "package/bin/bun");
}

function run(command: string[], cwd: string): void {
  const done = Bun.spawnSync(command, { cwd, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")} failed:\n${done.stderr}${done.stdout}`);
}
