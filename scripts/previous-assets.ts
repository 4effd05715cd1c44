// Provides the previous wg-cni for the upgrade tests: its commit's sources, with the packages of its own lock
// file, by its own build. The executable is kept under .cache, by commit.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/**
 * The commit of the last release. Until there is one: the last commit before the version of the store changed, because
 * two builds with one version of the store differ in nothing that an upgrade has to carry over. A
 * release moves it (RELEASING.md), and so does a migration that is added before the first one.
 */
const previousCommit = "a128e44607fe0daad1983bb909ba690365ef65b3";

const root = resolve(import.meta.dir, "..");
const cache = join(root, ".cache");
const shortCommit = previousCommit.slice(0, 12);
const executable = join(cache, `previous-assets-${shortCommit}`, "wg-cni");

/** Returns the path of the previous executable; undefined if it was not built. */
export function findPrevious(): string | undefined {
  return existsSync(executable) ? executable : undefined;
}

function buildPrevious(): void {
  requireCommit();
  for (const entry of readdirSync(cache))
    if (/^previous-(assets|build)-/.test(entry)) rmSync(join(cache, entry), { recursive: true, force: true });
  const work = join(cache, `previous-build-${shortCommit}`);
  mkdirSync(work);
  try {
    // An archive and not a worktree: the clone gets no entry that could stay behind.
    const sources = run(["git", "archive", "--format=tar", previousCommit], root);
    run(["tar", "-x"], work, sources);
    run(["npm", "ci", "--no-audit", "--no-fund"], work);
    run(["npm", "run", "build"], work);
    mkdirSync(dirname(executable));
    renameSync(join(work, "plugin-bin/wg-cni"), executable);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Throws an Error with the remedy if the history does not reach back to the commit. */
function requireCommit(): void {
  const { exitCode } = Bun.spawnSync(["git", "cat-file", "-e", `${previousCommit}^{commit}`], { cwd: root });
  if (exitCode === 0) return;
  throw new Error(
    `the previous wg-cni is built from commit ${previousCommit}, which this clone does not have: run \`git fetch --unshallow\`, or clone without --depth`,
  );
}

/** Returns the standard output. Throws an Error that has the command's output. */
function run(command: readonly string[], cwd: string, stdin?: Buffer): Buffer {
  const done = Bun.spawnSync([...command], { cwd, stdin, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode === 0) return done.stdout;
  throw new Error(`${command.join(" ")} failed:\n${done.stderr}${stdin === undefined ? done.stdout : ""}`);
}

if (import.meta.main) {
  try {
    if (findPrevious() === undefined) {
      console.error(`building wg-cni of commit ${shortCommit}: once, for a minute`);
      buildPrevious();
    }
    console.log(executable);
  } catch (error) {
    console.error(`previous-assets: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
