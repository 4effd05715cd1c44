// Runs the tests, as `./scripts/test` does after scripts/setup: the build, the checks, then test files as
// jobs of `bun test`, several at a time. It counts the cases of their JUnit reports; a job that is late,
// dies or leaves a file out has failed.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Subprocess } from "bun";
import { type Case, parseJunit } from "./junit.ts";
import { ok, seconds } from "./outcome.ts";
import { dim, red } from "./stage/screen.ts";
import { directoryOf, type Job, planJobs, providers, separateDirectories, takeJob } from "./test-plan.ts";

const root = resolve(import.meta.dir, "..");
const bun = join(root, "scripts/bun");
const stepLimitMs = 300_000;
/** The time for building Kubernetes beside the other tests, which come first. */
const assetsLimitMs = 2_100_000;
/**
 * The time limit of a test that sets none. Bun's own 5 s is less than a busy machine needs for tests that
 * only compute; a test that hangs is ended all the same, long before its job.
 */
const testLimitMs = 30_000;
/** The weight of builds beside the tests: they get a tenth of a processor that a test wants, and all of an idle one. */
const buildNiceness = 10;
/** More of a failure is where its job ended. */
const excerptLines = 40;

interface Ended {
  readonly text: string;
  /** The reason why the job failed, whatever it reported; "" if it ended well. */
  readonly reason: string;
}

interface Failure {
  readonly name: string;
  /** The first failed test of a file has here what it said, because the end of a long log must explain it; a failure after it has "". */
  readonly why: string;
}

/** On a machine for testing, a test that cannot run has failed. */
const isRequired = Boolean(process.env["CI"]) && process.getuid?.() === 0;
const running = new Set<Subprocess>();
/** Directories whose programs are not there yet. */
const awaited = new Set<string>();
const total = { passed: 0, failed: 0, skipped: 0 };
const failures: Failure[] = [];
const reports = mkdtempSync(join(tmpdir(), "wg-cni-test-"));

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    for (const child of running) endGroup(child);
    rmSync(reports, { recursive: true, force: true });
    process.exit(130);
  });
}

await main(process.argv.slice(2));
rmSync(reports, { recursive: true, force: true });
for (const { name, why } of failures) if (why !== "") console.log(`\n${red("✗")} ${name}\n${why}`);
if (failures.length > 0) console.log("");
for (const { name } of failures) console.log(`${red("✗")} ${name}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;

async function main(filters: string[]): Promise<void> {
  const jobs = planJobs(root, filters);
  if (jobs.length === 0) return fail(`no test file has ${filters.join(" or ")} in its path`, "");
  if (filters.length === 0 || jobs.some((job) => separateDirectories[directoryOf(job.name)] !== undefined)) {
    if (!(await step("build", ["scripts/build.ts"]))) return;
  }
  if (filters.length === 0) {
    await step("check", ["scripts/check.ts"]);
    await step("audit", ["scripts/supply/audit.ts"], { isNoteworthy: true });
  }
  const queue = [...jobs];
  const provided = provide(queue);
  const started = new Map<Job, Promise<void>>();
  while (queue.length > 0 || started.size > 0) {
    const job = takeJob(queue, [...started.keys()], awaited);
    if (job === undefined) await Promise.race([...started.values(), ...awaitedOf(provided)]);
    else
      started.set(
        job,
        runJob(job).then(() => void started.delete(job)),
      );
  }
}

function awaitedOf(provided: Readonly<Record<string, Promise<void>>>): Promise<void>[] {
  return Object.entries(provided).flatMap(([directory, there]) => (awaited.has(directory) ? [there] : []));
}

/** Runs one of the steps before the tests: it passes, and prints its text if that is noteworthy, or counts as one failure. */
async function step(name: string, argv: string[], { isNoteworthy = false } = {}): Promise<boolean> {
  const start = performance.now();
  const { text, reason } = await execute([bun, ...argv], stepLimitMs);
  if (reason === "") printLine(ok, name, isNoteworthy ? text : "", start);
  else fail(`${name}: ${reason}`, text, start);
  return reason === "";
}

/** Builds the programs that the jobs need, one after the other beside the tests. Directory -> a promise that resolves when they are there, or cannot be. */
function provide(jobs: readonly Job[]): Record<string, Promise<void>> {
  let previous = Promise.resolve();
  const provided: Record<string, Promise<void>> = {};
  for (const directory of Object.keys(providers)) {
    if (!jobs.some((job) => directoryOf(job.name) === directory)) continue;
    awaited.add(directory);
    previous = previous.then(() => provideFor(directory)).then(() => void awaited.delete(directory));
    provided[directory] = previous;
  }
  return provided;
}

/** If that fails, the tests that need it are skipped, unless they are required. */
async function provideFor(directory: string): Promise<void> {
  const { script, requires } = providers[directory] as (typeof providers)[string];
  const start = performance.now();
  const { text, reason } = await execute([join(root, "scripts", script)], assetsLimitMs, {
    niceness: buildNiceness,
  });
  if (reason === "") printLine(ok, script, "", start);
  else if (isRequired || process.env[requires] === "1") fail(`${script}: ${reason}`, text, start);
  else printLine(dim("-"), script, reason, start);
}

async function runJob(job: Job): Promise<void> {
  const start = performance.now();
  const report = join(reports, `${Bun.hash(job.name)}.xml`);
  const options = [
    `--timeout=${testLimitMs}`,
    "--only-failures",
    "--reporter=junit",
    `--reporter-outfile=${report}`,
  ];
  const files = job.files.map((file) => `./${file}`);
  const { text, reason } = await execute([bun, "test", ...options, ...files], job.limitMs, {
    ...(job.env ? { env: job.env } : {}),
  });
  const cases = existsSync(report) ? parseJunit(readFileSync(report, "utf8")) : [];
  const count = (outcome: Case["outcome"]) => cases.filter((one) => one.outcome === outcome).length;
  const [passed, failed, skipped] = [count("passed"), count("failed"), count("skipped")];
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  const silent = job.files.filter((file) => !cases.some((one) => one.file === file));
  const unexplained = reason !== "" && failed === 0 && silent.length === 0;
  const well = failed === 0 && silent.length === 0 && !unexplained;
  const counts = [`${passed} passed`, failed > 0 && `${failed} failed`, skipped > 0 && `${skipped} skipped`];
  printLine(well ? ok : red("✗"), job.name, counts.filter(Boolean).join(", "), start);
  for (const one of cases) if (one.outcome === "skipped") console.log(dim(`    skipped: ${one.name}`));
  if (well) return;
  console.log(`\n${text}\n`);
  failures.push(...failuresOf(cases));
  const others = unexplained ? [job.name] : silent;
  total.failed += others.length;
  for (const name of others) failures.push({ name: `${name}: ${reason || "reported no test"}`, why: "" });
}

/** A test that fails often makes those after it in its file fail too, so the first one explains a file. */
function failuresOf(cases: readonly Case[]): Failure[] {
  const failed = cases.filter(({ outcome }) => outcome === "failed");
  return failed.map(({ file, name, detail }) => {
    const isFirst = failed.find((one) => one.file === file)?.name === name;
    return { name: `${file}: ${name}`, why: isFirst ? excerpt(detail) : "" };
  });
}

/** Indents the beginning of a text. */
function excerpt(text: string): string {
  const lines = text.split("\n").slice(0, excerptLines);
  return lines.map((line) => `    ${line}`).join("\n");
}

/** Runs a program in a process group of its own, so that all it started can be ended with it. */
async function execute(
  argv: string[],
  limitMs: number,
  { niceness = 0, env = {} }: { readonly niceness?: number; readonly env?: Job["env"] } = {},
): Promise<Ended> {
  const required = isRequired
    ? {
        REQUIRE_KERNEL: "1",
        REQUIRE_KUBE: "1",
        REQUIRE_RUNTIME: "1",
        REQUIRE_SMALL_CLUSTER: "1",
        REQUIRE_PREVIOUS: "1",
      }
    : {};
  const child = Bun.spawn(argv, {
    cwd: root,
    env: { ...required, ...process.env, ...env, NO_COLOR: "1" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
  });
  running.add(child);
  if (niceness > 0) yieldTo(child.pid, niceness);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    endGroup(child);
  }, limitMs);
  const written = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await child.exited;
  clearTimeout(timer);
  // A process that a test left running holds the pipes open.
  endGroup(child);
  running.delete(child);
  const text = (await written).join("").replaceAll(`${root}/`, "").trim();
  if (late) return { text, reason: `not finished within ${limitMs / 1000} s` };
  if (child.signalCode !== null) return { text, reason: `died of ${child.signalCode}` };
  return { text, reason: child.exitCode === 0 ? "" : `ended with status ${child.exitCode}` };
}

/**
 * Lowers the weight of a session. Each job has a session of its own (setsid), and with autogroups the
 * scheduler shares processors between sessions: `nice` counts within one only (sched(7)).
 */
function yieldTo(session: number, niceness: number): void {
  const path = `/proc/${session}/autogroup`;
  if (existsSync(path)) writeFileSync(path, String(niceness));
}

function endGroup(child: Subprocess): void {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group has gone already.
  }
}

function fail(name: string, detail: string, start = performance.now()): void {
  total.failed++;
  failures.push({ name, why: "" });
  printLine(red("✗"), name, "", start);
  if (detail !== "") console.log(`\n${detail}\n`);
}

function printLine(mark: string, name: string, note: string, start: number): void {
  console.log(`${mark} ${seconds(performance.now() - start)}  ${name}${note && dim(`  ${note}`)}`);
}
