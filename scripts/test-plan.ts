// Plans the test run: which test files are one job, how long a job may take, and which job comes next. Pure but for
// the list of files.

/** Kernel tests wait most of the time; three of them keep two processors less busy than an emulated machine does. */
const jobsAtOnce = 3;
/** Directories whose tests use the kernel or take minutes: a process for each file, and the time it may take. All other files share one. */
export const separateDirectories: Record<string, number> = {
  // First, because an exclusive job waits for the end of this one.
  fuzz: 660_000,
  docs: 300_000,
  kernel: 600_000,
  lab: 300_000,
  soak: 1_000_000,
  vm: 1_300_000,
  upgrade: 600_000,
  runtime: 300_000,
  cluster: 900_000,
  "small-cluster": 1_500_000,
  reporting: 2_700_000,
  model: 1_900_000,
  faults: 2_700_000,
  attacks: 1_900_000,
  release: 1_800_000,
};
/** Tests that take too long for each run, by the beginning of their path: they run when a filter has the name in it. */
const onlyWhenNamed: Readonly<Record<string, string>> = {
  "test/small-cluster/": "small-cluster",
  "test/reporting/": "reporting",
  "test/kernel/agent/crowd": "crowd",
  "test/model/": "model",
  "test/faults/every": "faults",
  "test/attacks/every": "attacks",
  "test/release/": "release",
  "test/upgrade/": "upgrade",
  "test/vm/repair": "vm",
  "test/vm/arm64": "arm64",
};
/** Its tests run twice: a plugin's process does the calls, then a plugin server. */
const servedDirectory = "test/kernel/plugin/";
/**
 * The beginnings of the paths of tests that run alone, when the programs are built. Those of `vm` emulate two
 * processors, which is as much as there may be: beside one other job they took three times as long, which is more than
 * that job took, and a build beside them would hardly go on. A soak counts each packet, and a machine that cannot
 * follow loses some.
 */
const exclusive = ["test/soak/three-minutes", "test/vm/"];
/** Directory -> the script that provides the programs its tests talk to, and the variable that has them required. */
export const providers: Record<string, { readonly script: string; readonly requires: string }> = {
  upgrade: { script: "previous-assets", requires: "REQUIRE_PREVIOUS" },
  runtime: { script: "runtime-assets", requires: "REQUIRE_RUNTIME" },
  // Before the other: Kubernetes' programs are built together, once.
  "small-cluster": { script: "small-cluster-assets", requires: "REQUIRE_SMALL_CLUSTER" },
  cluster: { script: "kube-assets", requires: "REQUIRE_KUBE" },
  reporting: { script: "kube-assets", requires: "REQUIRE_KUBE" },
};
/** Alone it takes two minutes; programs may be built beside it. */
const sharedLimitMs = 600_000;

export interface Job {
  readonly name: string;
  readonly files: readonly string[];
  readonly limitMs: number;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Returns the next job that has its programs, and room now. An exclusive job takes all places: the first one waits
 * until they are free, because the jobs behind it would leave none.
 */
export function takeJob(
  queue: Job[],
  started: readonly Job[],
  awaited: ReadonlySet<string>,
): Job | undefined {
  const places = (job: Job) => (isExclusive(job) ? jobsAtOnce : 1);
  const free = started.reduce((left, job) => left - places(job), jobsAtOnce);
  const ready = queue.filter((one) => isReady(one, awaited));
  const isWaiting = ready[0] !== undefined && isExclusive(ready[0]);
  const job = (isWaiting ? ready.slice(0, 1) : ready).find((one) => places(one) <= free);
  if (job !== undefined) queue.splice(queue.indexOf(job), 1);
  return job;
}

function isReady(job: Job, awaited: ReadonlySet<string>): boolean {
  return isExclusive(job) ? awaited.size === 0 : !awaited.has(directoryOf(job.name));
}

function isExclusive({ name }: Job): boolean {
  return exclusive.some((beginning) => name.startsWith(beginning));
}

/** Orders the jobs: pure tests first, because they are quick and their failures explain the rest; last come those whose programs may still be built. */
export function planJobs(root: string, filters: readonly string[]): Job[] {
  const files = [...new Bun.Glob("test/**/*.test.ts").scanSync(root)].sort();
  const chosen = files.filter((file) => {
    const [, name] = Object.entries(onlyWhenNamed).find(([beginning]) => file.startsWith(beginning)) ?? [];
    const isAsked = (filter: string) => file.includes(filter) && filter.includes(name ?? "");
    return filters.some(isAsked) || (filters.length === 0 && name === undefined);
  });
  const shared = chosen.filter((file) => separateDirectories[directoryOf(file)] === undefined);
  const jobs: Job[] =
    shared.length === 0 ? [] : [{ name: directoriesOf(shared), files: shared, limitMs: sharedLimitMs }];
  for (const [directory, limitMs] of Object.entries(separateDirectories)) {
    for (const file of chosen.filter((one) => directoryOf(one) === directory))
      jobs.push({ name: file, files: [file], limitMs });
    for (const file of chosen.filter(
      (one) => one.startsWith(servedDirectory) && directoryOf(one) === directory,
    ))
      jobs.push({
        name: `${file} with a plugin server`,
        files: [file],
        limitMs,
        env: { PLUGIN_SERVER: "1" },
      });
  }
  return jobs;
}

export function directoryOf(file: string): string {
  return file.split("/")[1]!;
}

function directoriesOf(files: readonly string[]): string {
  return `test/{${[...new Set(files.map(directoryOf))].join(",")}}`;
}
