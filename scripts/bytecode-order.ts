// Records which functions a call executes, so that the compiler puts their bytecode together at the front
// of the executable: a call then touches fewer pages. The record is made in every build, because it
// names functions by digests of their bytecode. It needs no privileges and reads nothing of this machine,
// so that the same sources give the same record everywhere.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Call {
  readonly command: "VERSION" | "ADD" | "STATUS";
  readonly conf: Readonly<Record<string, string>>;
}

const conf = { cniVersion: "1.1.0", name: "recording", type: "wg-cni" };

/**
 * The most frequent comes first. A call with work to do needs a kernel, so these end before: ADD because it names
 * no network namespace, STATUS because its state directory cannot exist. All code was evaluated by then.
 */
const calls: readonly Call[] = [
  { command: "VERSION", conf },
  { command: "ADD", conf },
  { command: "STATUS", conf: { ...conf, stateDir: "/dev/null/state" } },
];

/**
 * Makes the bundle in `directory` one that can be recorded: it ends by the engine's own exit, which
 * writes the record, while exit_group(2) does not.
 */
export function makeRecordable(directory: string): void {
  const path = join(directory, "main.js");
  const text = readFileSync(path, "utf8");
  const ends = [...text.matchAll(/\b[\w$]+(?=\(await [\w$]+\(\)\);)/g)];
  const [end] = ends;
  if (end === undefined || ends.length > 1) throw new Error(`${path} ends at ${ends.length} places`);
  writeFileSync(path, `${text.slice(0, end.index)}process.exit${text.slice(end.index + end[0].length)}`);
}

/** Runs an executable of the recordable bundle. Returns the paths of the records in `directory`, the most important first. */
export function recordOrder(executable: string, directory: string): string[] {
  return calls.map(({ command, conf }) => {
    const record = join(directory, `${command}.order`);
    const env = { CNI_COMMAND: command, CNI_PATH: directory, BUN_BYTECODE_ORDER_OUT: record };
    Bun.spawnSync([executable], { env, stdin: Buffer.from(JSON.stringify(conf)), stdout: "ignore" });
    if (!/^F /m.test(readFileSync(record, "utf8"))) throw new Error(`${command} has recorded no function`);
    return record;
  });
}
