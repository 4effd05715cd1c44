// Builds programs that tests need from their released Go modules, and keeps them under .cache. Callers
// name the modules and their versions. Only this file uses Go; no part of the product is built here.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const cache = resolve(import.meta.dir, "../.cache");
const usualPlaces = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"];

/** Programs that fit together. */
export interface GoBuild {
  /** Short; unique in this project. */
  readonly name: string;
  /** Changes with the version of any program. */
  readonly version: string;
  /** Program -> its package. */
  readonly packages: Readonly<Record<string, string>>;
  /** The lines of a program's go.mod after the first, which has the build's name. */
  readonly moduleLines: (go: Go, program: string) => readonly string[];
  /** The places that are searched before programs are built, as text. */
  readonly soughtIn: string;
  /** For the linker, besides what makes programs small. */
  readonly linkerFlags?: string;
}

/** Returns the path of a built program. */
export function builtPath({ name, version }: GoBuild, program: string): string {
  return join(cache, `${name}-assets-${version}`, program);
}

/** Builds the programs. Throws an Error that names the missing tools, or has the compiler's output. */
export function buildPrograms(build: GoBuild, programs: readonly string[]): void {
  const { name, version, packages, linkerFlags = "" } = build;
  const executable = Bun.which("go") ?? usualPlaces.find((path) => existsSync(path));
  if (executable === undefined)
    throw new Error(
      `no ${programs.join(", ")} in ${build.soughtIn}, and no Go to build with: install Go 1.26 or newer (https://go.dev/dl)`,
    );
  removeOldBuilds(build);
  // It stays if the build is interrupted, so that the next run continues.
  const work = join(cache, `${name}-build-${version}`);
  mkdirSync(work, { recursive: true });
  mkdirSync(dirname(builtPath(build, programs[0] as string)), { recursive: true });
  const go = new Go(executable, work);
  for (const program of programs) {
    rmSync(join(work, "go.mod"), { force: true });
    const lines = build.moduleLines(go, program);
    writeFileSync(join(work, "go.mod"), [`module ${name}-assets`, ...lines, ""].join("\n"));
    const flags = ["-p", "2", "-trimpath", "-ldflags", `-s -w ${linkerFlags}`];
    go.run(["build", ...flags, "-o", join(work, program), packages[program] as string]);
    renameSync(join(work, program), builtPath(build, program));
  }
  rmSync(work, { recursive: true, force: true });
}

export class Go {
  constructor(
    readonly executable: string,
    readonly work: string,
  ) {}

  /** Returns the standard output. Throws Error. */
  run(args: readonly string[]): string {
    const done = Bun.spawnSync(["nice", "-n", "19", this.executable, ...args], {
      cwd: this.work,
      env: {
        ...process.env,
        GOFLAGS: "-mod=mod -modcacherw",
        GOWORK: "off",
        GO111MODULE: "on",
        CGO_ENABLED: "0",
        GOCACHE: join(this.work, "build"),
        GOMODCACHE: join(this.work, "modules"),
        // There is no go.sum: the public log of checksums vouches for each module, whatever this machine has set.
        GOSUMDB: "sum.golang.org",
        GONOSUMDB: "none",
      },
      stdout: "pipe",
      stderr: "pipe",
    });
    if (done.exitCode !== 0) throw new Error(`go ${args.join(" ")} failed:\n${done.stderr}${done.stdout}`);
    return done.stdout.toString();
  }
}

/** Runs a command that provides programs: it builds the missing ones, then prints the paths of all. */
export function runProvider(
  build: GoBuild,
  missing: readonly string[],
  find: () => Readonly<Record<string, string>> | undefined,
): void {
  try {
    if (missing.length > 0) {
      console.error(`building ${missing.join(", ")} (${build.version}): once, for some minutes`);
      buildPrograms(build, missing);
    }
    for (const path of Object.values(find() ?? {})) console.log(path);
  } catch (error) {
    console.error(`${build.name}-assets: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

function removeOldBuilds({ name, version }: GoBuild): void {
  const current = [`${name}-assets-${version}`, `${name}-build-${version}`];
  for (const entry of readdirSync(cache))
    if (new RegExp(`^${name}-(assets|build)-`).test(entry) && !current.includes(entry))
      rmSync(join(cache, entry), { recursive: true, force: true });
}
