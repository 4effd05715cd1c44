// Runs a command of this repository for a test.
import { repository } from "./paths.ts";

/** Returns what the command wrote to stdout; throws with all that it wrote if it fails. */
export async function runCommand(argv: readonly [string, ...string[]]): Promise<string> {
  const child = Bun.spawn([...argv], { cwd: repository, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) === 0) return stdout;
  throw new Error(`${argv.join(" ")} failed:\n${stdout}${stderr}`);
}
