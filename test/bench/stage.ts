// A benchmark runs in a lab and a directory on disk, which both end with it, however it ends.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { print, spin, unspin, yellow } from "../../scripts/stage/screen.ts";
import { addressing } from "../kernel/support/mesh-reference.ts";
import { Lab } from "../lab/lab.ts";
import type { Node } from "../lab/node.ts";
import type { Report } from "./report.ts";

export interface Stage {
  readonly lab: Lab;
  /** On disk, as a node's is: memory would hide what the ledgers cost. */
  readonly storage: string;
  /** Adds the node n1 for 1, and so on; it has IPv4 only, and its storage on disk. */
  readonly addNode: (index: number) => Promise<Node>;
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
  const addNode = (index: number) => {
    const directory = join(storage, `n${index}`);
    mkdirSync(directory);
    const { ip4, podCidrs } = addressing(index);
    return lab.node(`n${index}`, { ip4, podCidrs: podCidrs.slice(0, 1), storage: directory });
  };
  return { lab, storage, addNode, run };
}

/** Shows what is done while it lasts: the report is all that is printed. */
export function show<T>(text: string, work: () => Promise<T>): Promise<T> {
  spin(text);
  return work();
}

/** Prints the report, or the figures as JSON; returns the exit code. */
export function present(
  figures: object,
  { lines, missedBudgets }: Report,
  { json, enforce }: { readonly json?: boolean; readonly enforce?: boolean },
): number {
  unspin();
  print(json ? JSON.stringify(figures) : lines.join("\n"));
  if (missedBudgets > 0) console.error(yellow(`${missedBudgets} over budget.`));
  return enforce && missedBudgets > 0 ? 1 : 0;
}
