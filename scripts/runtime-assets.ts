// Provides programs for the tests of real runtimes that Debian does not have: crictl, which acts as the
// kubelet towards containerd; cnitool, which uses the current libcni; and reference plugins that support
// CNI 1.1. They are built by the machine's Go from their released modules and kept under .cache.
import { existsSync } from "node:fs";
import { builtPath, type GoBuild, runProvider } from "./go-build.ts";

/** Speaks the CRI's v1, as containerd does since 1.6. */
const crictlVersion = "1.34.0";
const cniVersion = "1.3.1";
const pluginsVersion = "1.10.0";

const packages = {
  bridge: "github.com/containernetworking/plugins/plugins/main/bridge",
  cnitool: "github.com/containernetworking/cni/cnitool",
  crictl: "sigs.k8s.io/cri-tools/cmd/crictl",
  "host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
  portmap: "github.com/containernetworking/plugins/plugins/meta/portmap",
  ptp: "github.com/containernetworking/plugins/plugins/main/ptp",
  tuning: "github.com/containernetworking/plugins/plugins/meta/tuning",
};
type Program = keyof typeof packages;
const programs = Object.keys(packages) as Program[];

const build: GoBuild = {
  name: "runtime",
  version: `${crictlVersion}-${cniVersion}-${pluginsVersion}`,
  packages,
  soughtIn: ".cache",
  moduleLines: () => [
    "go 1.25.0",
    `require github.com/containernetworking/cni v${cniVersion}`,
    `require github.com/containernetworking/plugins v${pluginsVersion}`,
    `require sigs.k8s.io/cri-tools v${crictlVersion}`,
  ],
};

/** Program -> its path. */
export type RuntimeAssets = Readonly<Record<Program, string>>;

/** Returns undefined if a program is missing. */
export function findRuntimeAssets(): RuntimeAssets | undefined {
  if (missingPrograms().length > 0) return undefined;
  return Object.fromEntries(programs.map((name) => [name, builtPath(build, name)])) as RuntimeAssets;
}

function missingPrograms(): Program[] {
  return programs.filter((name) => !existsSync(builtPath(build, name)));
}

if (import.meta.main) runProvider(build, missingPrograms(), findRuntimeAssets);
