// Runs the programs of which a release is made.

/** Returns standard output. Throws an Error with what the program said if it fails. */
export function run(command: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const done = Bun.spawnSync([...command], {
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  if (done.exitCode !== 0)
    throw new Error(`\`${command.join(" ")}\` failed with ${done.exitCode}:\n${done.stderr}${done.stdout}`);
  return done.stdout.toString();
}
