// Measures the cost of work on a machine that does other work, too.

/** Milliseconds that this thread computed in `run`. Other processes make it wait, which does not count. */
export function cpuMs(run: () => void): number {
  // What was there before is not collected at the cost of `run`.
  Bun.gc(true);
  const before = process.threadCpuUsage();
  run();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

/** Milliseconds of the fastest of three runs: caches that others have filled make a run slower, never faster. */
export function fastestCpuMs(run: () => void): number {
  return Math.min(cpuMs(run), cpuMs(run), cpuMs(run));
}
