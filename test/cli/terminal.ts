// A terminal for tests: runs the command line in this process and keeps what it
// printed. State directories are temporary; the kernel is only read.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "../../src/cli/run.ts";

export interface Said {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `wg-cni WORDS…` with a text on standard input. */
export async function run(words: readonly string[], stdin = "", coloured = false): Promise<Said> {
  let [stdout, stderr] = ["", ""];
  const exitCode = await runCli(
    words,
    { version: "1.2.3", build: "test" },
    {
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      coloured,
      readStdin: (maxBytes) => {
        const bytes = new TextEncoder().encode(stdin);
        return bytes.length > maxBytes ? undefined : bytes;
      },
    },
  );
  return { exitCode, stdout, stderr };
}

/** A state directory that goes with the test. */
export class StateDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "wg-cni-cli-"));

  /** The flag that makes a command use this directory. */
  get flag(): string[] {
    return ["--state-dir", this.path];
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
