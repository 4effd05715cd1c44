// The real thing that the cluster tests talk to: etcd, kube-apiserver and
// kube-controller-manager; and Helm, which renders the chart. Taken from
// KUBEBUILDER_ASSETS or the PATH where they are there, else built by the machine's
// Go from their released modules and kept under .cache. Nothing else of this
// project uses Go.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
const cache = join(root, ".cache");

const kubernetesVersion = "1.36.3";
const kubernetes = `k8s.io/kubernetes v${kubernetesVersion}`;
/** Developed against the same Kubernetes, so that most of it is compiled already. */
const helm = "helm.sh/helm/v3 v3.21.4";
/** Program -> its package. Of etcd, Kubernetes' go.mod says the version. */
const packages = {
  etcd: "go.etcd.io/etcd/server/v3",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
  "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
  helm: "helm.sh/helm/v3/cmd/helm",
};
type Program = keyof typeof packages;
/** Of one origin, so that they fit; an envtest folder has no controllers. */
const sets: readonly (readonly Program[])[] = [
  ["etcd", "kube-apiserver"],
  ["kube-controller-manager"],
  ["helm"],
];
const built = join(cache, `kube-assets-${kubernetesVersion}`);

/** Program -> its path. */
export type KubeAssets = Readonly<Record<Program, string>>;

/** Undefined where a program is missing. */
export function findKubeAssets(): KubeAssets | undefined {
  const found = sets.map(findSet);
  if (found.includes(undefined)) return undefined;
  return Object.fromEntries(found.flatMap((set) => set ?? [])) as KubeAssets;
}

function findSet(names: readonly Program[]): (readonly [Program, string])[] | undefined {
  const folder = process.env["KUBEBUILDER_ASSETS"];
  const origins = [
    (name: string) => (folder === undefined ? "" : join(folder, name)),
    (name: string) => Bun.which(name) ?? "",
    (name: string) => join(built, name),
  ];
  const candidates = origins.map((pathOf) => names.map((name) => [name, pathOf(name)] as const));
  return candidates.find((set) => set.every(([, path]) => existsSync(path)));
}

/** Throws an Error with what is missing on this machine, or what the compiler said. */
function build(names: readonly Program[]): void {
  const places = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"];
  const go = Bun.which("go") ?? places.find((path) => existsSync(path));
  if (go === undefined)
    throw new Error(
      `no ${names.join(", ")} in KUBEBUILDER_ASSETS or the PATH, and no Go to build with: install Go 1.26 or newer (https://go.dev/dl)`,
    );
  removeOldBuilds();
  // Stays when it is interrupted: the next run goes on where this one was.
  const work = join(cache, `kube-build-${kubernetesVersion}`);
  mkdirSync(work, { recursive: true });
  mkdirSync(built, { recursive: true });
  for (const name of names) {
    const requirement = name === "helm" ? helm : kubernetes;
    writeModule(go, work, requirement);
    const flags = ["-p", "2", "-trimpath", "-ldflags", `-s -w ${versionFlags()}`];
    runGo(go, work, ["build", ...flags, "-o", join(work, name), packages[name]]);
    renameSync(join(work, name), join(built, name));
  }
  rmSync(work, { recursive: true, force: true });
}

/**
 * Needs `requirement`, and nothing else, so that nothing else changes what it is
 * built with. Kubernetes' own module names the libraries that are developed beside
 * it by a folder of its repository, which is not in its zip. They are released under
 * the same number, and sum.golang.org has the hashes of all.
 */
function writeModule(go: string, work: string, requirement: string): void {
  const module = join(work, "go.mod");
  rmSync(module, { force: true });
  const source = kubernetes.replace(" ", "@");
  const { GoMod } = JSON.parse(runGo(go, work, ["mod", "download", "-json", source])) as {
    GoMod: string;
  };
  const { Replace, Go } = JSON.parse(runGo(go, work, ["mod", "edit", "-json", GoMod])) as {
    readonly Replace: readonly { readonly Old: { readonly Path: string } }[];
    readonly Go: string;
  };
  const library = kubernetesVersion.replace(/^1\./, "v0.");
  const lines = [
    "module kube-assets",
    `go ${Go}`,
    `require ${requirement}`,
    ...Replace.map(({ Old }) => `replace ${Old.Path} => ${Old.Path} ${library}`),
  ];
  writeFileSync(module, `${lines.join("\n")}\n`);
}

/** What /version and --version say; without them it is a version of no release. */
function versionFlags(): string {
  const [major, minor] = kubernetesVersion.split(".");
  const values = { gitVersion: `v${kubernetesVersion}`, gitMajor: major, gitMinor: minor };
  const flag = ([name, value]: [string, unknown]) => `-X k8s.io/component-base/version.${name}=${value}`;
  return Object.entries(values).map(flag).join(" ");
}

/** Its standard output. Throws Error. */
function runGo(go: string, work: string, args: readonly string[]): string {
  const done = Bun.spawnSync(["nice", "-n", "19", go, ...args], {
    cwd: work,
    env: {
      ...process.env,
      GOFLAGS: "-mod=mod -modcacherw",
      GOWORK: "off",
      GO111MODULE: "on",
      CGO_ENABLED: "0",
      GOCACHE: join(work, "build"),
      GOMODCACHE: join(work, "modules"),
    },
    stdout: "pipe",
    stderr: "pipe",
  });
  if (done.exitCode !== 0) throw new Error(`go ${args.join(" ")} failed:\n${done.stderr}${done.stdout}`);
  return done.stdout.toString();
}

function removeOldBuilds(): void {
  for (const name of readdirSync(cache))
    if (/^kube-(assets|build)-/.test(name) && !name.endsWith(`-${kubernetesVersion}`))
      rmSync(join(cache, name), { recursive: true, force: true });
}

if (import.meta.main) {
  try {
    const missing = sets.filter((names) => findSet(names) === undefined).flat();
    if (missing.length > 0) {
      console.error(
        `building ${missing.join(", ")}, of Kubernetes ${kubernetesVersion} or for it: once, for some minutes`,
      );
      build(missing);
    }
    for (const path of Object.values(findKubeAssets() ?? {})) console.log(path);
  } catch (error) {
    console.error(`kube-assets: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
