// Makes a program that does nothing, by the compiler that makes wg-cni: no call can be faster than its start.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile, hostArch } from "../../scripts/compile.ts";

/** Returns the path of the program. `directory` is one that goes away with the benchmark. */
export function makeEmptyProgram(directory: string): string {
  const work = join(directory, "empty");
  mkdirSync(work);
  writeFileSync(join(work, "main.js"), "export {};\n");
  const program = join(work, "empty-program");
  compile(work, program, hostArch);
  return program;
}
