// Provides cilium-cni for the benchmark: the plugin of a CNI that encrypts as well, and hands its calls to an agent too.
// It is built by the machine's Go from its released module and kept under .cache.
import { existsSync } from "node:fs";
import { builtPath, type GoBuild, runProvider } from "./go-build.ts";

const version = "1.20.2";
const module = "github.com/cilium/cilium";
const program = "cilium-cni";

const build: GoBuild = {
  name: "cilium",
  version,
  packages: { [program]: `${module}/plugins/cilium-cni` },
  soughtIn: ".cache",
  moduleLines: () => ["go 1.26.0", `require ${module} v${version}`],
};

/** Returns the path of the executable; undefined if it is missing. */
export function findCiliumCni(): string | undefined {
  const path = builtPath(build, program);
  return existsSync(path) ? path : undefined;
}

if (import.meta.main) {
  const path = findCiliumCni();
  runProvider(build, path === undefined ? [program] : [], () => ({ [program]: builtPath(build, program) }));
}
