// Provides the programs of the cluster tests: etcd, kube-apiserver and kube-controller-manager, and the
// tools of a person, kubectl and Helm. They are taken from KUBEBUILDER_ASSETS or the PATH if they are
// there, else built by the machine's Go from their released modules and kept under .cache.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { builtPath, type Go, type GoBuild, runProvider } from "./go-build.ts";

const kubernetesVersion = "1.36.3";
const kubernetes = `k8s.io/kubernetes v${kubernetesVersion}`;
/** Developed against the same Kubernetes, so that most of it is compiled already. */
const helm = "helm.sh/helm/v3 v3.21.4";
/** Program -> its package. Of etcd, Kubernetes' go.mod says the version. */
const packages = {
  etcd: "go.etcd.io/etcd/server/v3",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
  "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
  kubectl: "k8s.io/kubernetes/cmd/kubectl",
  helm: "helm.sh/helm/v3/cmd/helm",
  "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
  kubelet: "k8s.io/kubernetes/cmd/kubelet",
  "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
};
type Program = keyof typeof packages;
/** Of one origin, so that they fit; an envtest directory has no controllers. */
const sets: readonly (readonly Program[])[] = [
  ["etcd", "kube-apiserver"],
  ["kube-controller-manager"],
  ["kubectl"],
  ["helm"],
];
/** The further programs of a whole cluster; they are always built, because no PATH has them in this version. */
const nodeSet = ["kube-scheduler", "kubelet", "kube-proxy"] as const;

const build: GoBuild = {
  name: "kube",
  version: kubernetesVersion,
  packages,
  moduleLines,
  soughtIn: "KUBEBUILDER_ASSETS, the PATH or .cache",
  linkerFlags: versionFlags(),
};

/** Program -> its path. */
export type ClusterAssets = Readonly<Record<Program, string>>;
export type KubeAssets = Omit<ClusterAssets, (typeof nodeSet)[number]>;

/** Returns undefined if a program is missing. */
export function findKubeAssets(): KubeAssets | undefined {
  return findAll(sets) as KubeAssets | undefined;
}

/** Returns the programs of a whole cluster; undefined if one is missing. */
export function findClusterAssets(): ClusterAssets | undefined {
  return findAll([...sets, nodeSet]) as ClusterAssets | undefined;
}

function findAll(wanted: readonly (readonly Program[])[]): Readonly<Record<string, string>> | undefined {
  const found = wanted.map(findSet);
  if (found.includes(undefined)) return undefined;
  return Object.fromEntries(found.flatMap((set) => set ?? []));
}

function findSet(names: readonly Program[]): (readonly [Program, string])[] | undefined {
  const directory = process.env["KUBEBUILDER_ASSETS"];
  const origins = [
    (name: string) => (directory === undefined ? "" : join(directory, name)),
    (name: string) => Bun.which(name) ?? "",
    (name: string) => builtPath(build, name),
  ];
  const candidates = origins.map((pathOf) => names.map((name) => [name, pathOf(name)] as const));
  return candidates.find((set) => set.every(([, path]) => existsSync(path)));
}

/**
 * Returns the lines of go.mod. They require the program's own module and nothing else, so that nothing
 * else changes the versions of its libraries. Kubernetes' own module names the libraries that are developed beside
 * it by a directory of its repository, which is not in its zip. They are released under
 * the same number, and sum.golang.org has the hashes of all.
 */
function moduleLines(go: Go, program: string): string[] {
  const source = kubernetes.replace(" ", "@");
  const { GoMod } = JSON.parse(go.run(["mod", "download", "-json", source])) as { GoMod: string };
  const { Replace, Go } = JSON.parse(go.run(["mod", "edit", "-json", GoMod])) as {
    readonly Replace: readonly { readonly Old: { readonly Path: string } }[];
    readonly Go: string;
  };
  const library = kubernetesVersion.replace(/^1\./, "v0.");
  return [
    `go ${Go}`,
    `require ${program === "helm" ? helm : kubernetes}`,
    ...Replace.map(({ Old }) => `replace ${Old.Path} => ${Old.Path} ${library}`),
  ];
}

/** Linker flags for the output of /version and --version; without them it is no release's version. */
function versionFlags(): string {
  const [major, minor] = kubernetesVersion.split(".");
  const values = { gitVersion: `v${kubernetesVersion}`, gitMajor: major, gitMinor: minor };
  const flag = ([name, value]: [string, unknown]) => `-X k8s.io/component-base/version.${name}=${value}`;
  return Object.entries(values).map(flag).join(" ");
}

if (import.meta.main) {
  const hasNodes = process.argv.includes("--nodes");
  const wanted = hasNodes ? [...sets, nodeSet] : sets;
  const missing = wanted.filter((names) => findSet(names) === undefined).flat();
  runProvider(build, missing, hasNodes ? findClusterAssets : findKubeAssets);
}
