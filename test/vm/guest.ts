// Runs a file of Bun tests inside a virtual machine and reports each of them
// here under its own name. Such files are written like any other Bun test, may
// use all of src and test/lab, and live in test/vm/guest without ".test" in
// their names, so that nothing runs them outside by mistake. EMULATED=1 tells
// them that limits of time mean nothing there.
import { describe, expect, test } from "bun:test";
import { type Case, parseJunit } from "../../scripts/junit.ts";
import { Machine, type MachineOptions, unavailable } from "./machine.ts";

export interface GuestOptions extends MachineOptions {
  readonly timeoutMs?: number;
  /** Milliseconds one test may take; emulation is 5 to 20 times slower than the machine it runs on. */
  readonly testTimeoutMs?: number;
}

/** To be awaited at the top of a test file. `files` are relative to the repository, and share one machine. */
export async function guestTests(files: readonly string[], options: GuestOptions = {}): Promise<void> {
  const reason = unavailable();
  if (reason !== undefined) {
    // REQUIRE_KERNEL turns skips into failures.
    test.skipIf(!process.env["REQUIRE_KERNEL"])(`skipped: ${reason}`, () => expect.unreachable(reason));
    return;
  }
  const { cases, output, exitCode } = await runInGuest(files, options);
  for (const file of files) {
    const own = cases.filter((one) => one.file === file);
    describe(file, () => own.forEach(repeat));
    if (own.length > 0) continue;
    test(file, () => {
      throw new Error(`no test of it ran in the virtual machine:\n${output}`);
    });
  }
  const explained = cases.some((one) => one.outcome === "failed");
  if (exitCode === 0 || explained) return;
  test("bun test in the virtual machine", () => {
    throw new Error(`ended with status ${exitCode}:\n${output}`);
  });
}

/** Defines a test here with the outcome it had there. */
function repeat(one: Case): void {
  const define = one.outcome === "skipped" ? test.skip : test;
  define(one.name, () => {
    if (one.outcome === "failed") throw new Error(`failed in the virtual machine:\n${one.detail}`);
  });
}

async function runInGuest(files: readonly string[], options: GuestOptions) {
  await using machine = await Machine.boot(options);
  const timeout = options.testTimeoutMs ?? 60_000;
  const { output, exitCode } = await machine.run(
    `export NO_COLOR=1 REQUIRE_KERNEL=1 EMULATED=1
     bun test --timeout ${timeout} --reporter=junit --reporter-outfile=/tmp/junit.xml ${files.map((file) => `./${file}`).join(" ")}`,
    options.timeoutMs,
  );
  const report = await machine.run("cat /tmp/junit.xml");
  if (process.env["VM_VERBOSE"]) console.log(output);
  return { cases: report.exitCode === 0 ? parseJunit(report.output) : [], output, exitCode };
}
