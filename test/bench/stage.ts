// A benchmark runs in a lab and a directory on disk, which both end with it, however it ends.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unspin } from "../../scripts/stage/screen.ts";
import { Lab } from "../lab/lab.ts";

export interface Stage {
  readonly lab: Lab;
  /** On disk, as a node's is: memory would hide what the ledgers cost. */
  readonly storage: string;
  /** Runs `main`, whose result becomes the exit code. */
  readonly run: (main: () => Promise<number>) => Promise<void>;
}

/** Ends the process if it is not root's. */
export async function openStage(name: string): Promise<Stage> {
  if (process.getuid?.() !== 0) {
    console.error("The benchmark makes network namespaces and has to run as root.");
    process.exit(1);
  }
  const storage = mkdtempSync(join(tmpdir(), "wg-cni-bench-"));
  const lab = await Lab.create(name);
  const end = () => {
    unspin();
    lab[Symbol.dispose]();
    rmSync(storage, { recursive: true, force: true });
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => {
      end();
      process.exit(130);
    });
  const run = async (main: () => Promise<number>) => {
    try {
      process.exitCode = await main();
    } finally {
      end();
    }
  };
  return { lab, storage, run };
}
