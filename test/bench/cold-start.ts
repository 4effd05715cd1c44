// Measures starts of executables that are not in the page cache. The starts are of copies: pages that a
// running agent has mapped cannot be evicted.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { evict } from "../../src/linux/page-cache.ts";
import { addSample, type Contender, type Samples } from "./samples.ts";

export type Programs = readonly { readonly name: Contender; readonly path: string }[];

export function measureColdStarts(programs: Programs, directory: string, rounds: number): Samples {
  const samples: Samples = {};
  const copies = programs.map(({ name, path }, i) => {
    const copy = join(directory, `cold-${i}`);
    copyFileSync(path, copy);
    return { name, copy };
  });
  for (let round = 0; round < rounds; round++)
    for (const { name, copy } of copies) {
      evict(copy);
      const start = Bun.nanoseconds();
      const { exitCode } = Bun.spawnSync([copy], { env: { CNI_COMMAND: "VERSION" }, stdin: null });
      if (exitCode !== 0) throw new Error(`a cold start of ${name} ended with ${exitCode}`);
      addSample(samples, "cold start", name, (Bun.nanoseconds() - start) / 1e6);
    }
  return samples;
}
