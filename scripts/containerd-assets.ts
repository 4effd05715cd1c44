// containerd 2 and its shim for the small cluster: Debian's is of the 1.6 series,
// which a current kubelet does not accept. Built by the machine's Go from its
// released module, and kept under .cache.
import { existsSync } from "node:fs";
import { builtPath, type GoBuild, runProvider } from "./go-build.ts";

const version = "2.4.2";
const module = "github.com/containerd/containerd/v2";

const packages = {
  containerd: `${module}/cmd/containerd`,
  "containerd-shim-runc-v2": `${module}/cmd/containerd-shim-runc-v2`,
  ctr: `${module}/cmd/ctr`,
};
type Program = keyof typeof packages;
const programs = Object.keys(packages) as Program[];

const build: GoBuild = {
  name: "containerd",
  version,
  packages,
  soughtIn: ".cache",
  moduleLines: () => ["go 1.26.0", `require ${module} v${version}`],
  // Without it, it calls itself 2.4.2+unknown, and its clients warn.
  linkerFlags: `-X ${module}/version.Version=v${version}`,
};

/** Program -> its path. */
export type ContainerdAssets = Readonly<Record<Program, string>>;

/** Returns undefined if a program is missing. */
export function findContainerdAssets(): ContainerdAssets | undefined {
  if (missingPrograms().length > 0) return undefined;
  return Object.fromEntries(programs.map((name) => [name, builtPath(build, name)])) as ContainerdAssets;
}

function missingPrograms(): Program[] {
  return programs.filter((name) => !existsSync(builtPath(build, name)));
}

if (import.meta.main) runProvider(build, missingPrograms(), findContainerdAssets);
