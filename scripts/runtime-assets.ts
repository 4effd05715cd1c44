// The clients that the tests of real runtimes speak through: crictl, which is the
// kubelet's side of containerd, and cnitool, which is the current libcni. Debian
// has neither: built by the machine's Go from their released modules, and kept
// under .cache.
import { existsSync } from "node:fs";
import { builtPath, type GoBuild, provide } from "./go-build.ts";

/** Speaks the CRI's v1, as containerd does since 1.6. */
const crictlVersion = "1.34.0";
const cniVersion = "1.3.1";

const packages = {
  cnitool: "github.com/containernetworking/cni/cnitool",
  crictl: "sigs.k8s.io/cri-tools/cmd/crictl",
};
type Program = keyof typeof packages;
const programs = Object.keys(packages) as Program[];

const build: GoBuild = {
  name: "runtime",
  version: `${crictlVersion}-${cniVersion}`,
  packages,
  moduleLines: () => [
    "go 1.24.1",
    `require github.com/containernetworking/cni v${cniVersion}`,
    `require sigs.k8s.io/cri-tools v${crictlVersion}`,
  ],
};

/** Program -> its path. */
export type RuntimeAssets = Readonly<Record<Program, string>>;

/** Undefined where a program is missing. */
export function findRuntimeAssets(): RuntimeAssets | undefined {
  if (missingPrograms().length > 0) return undefined;
  return Object.fromEntries(programs.map((name) => [name, builtPath(build, name)])) as RuntimeAssets;
}

function missingPrograms(): Program[] {
  return programs.filter((name) => !existsSync(builtPath(build, name)));
}

if (import.meta.main) provide(build, missingPrograms(), findRuntimeAssets);
