// Containers of a pod's template in a lab node, as kubelet and runtime would run
// them: its image, arguments, mounts, rights, user, read-only root and system call
// filter, translated from the manifest field by field. A field that is not known
// here is an error: nothing of what a manifest asks for is left out silently.

import { imageName, limits, podman } from "./image.ts";
import { gateways } from "./lab.ts";
import type { Running, RunOptions } from "./namespaces.ts";
import type { Node } from "./node.ts";

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly valueFrom?: unknown }[];
  readonly securityContext: {
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
    readonly readOnlyRootFilesystem: boolean;
    readonly allowPrivilegeEscalation: boolean;
  };
  readonly volumeMounts: readonly Mount[];
  readonly [field: string]: unknown;
}

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
  readonly mountPropagation?: "HostToContainer";
}

interface Volume {
  readonly name: string;
  /** A directory of the node's, or the pod's account. */
  readonly hostPath?: { readonly path: string; readonly type: "Directory" | "DirectoryOrCreate" };
  readonly projected?: { readonly sources: readonly object[] };
}

export interface PodSpec {
  readonly initContainers: readonly [Container];
  readonly containers: readonly [Container];
  readonly volumes: readonly Volume[];
  readonly securityContext: {
    readonly runAsUser: number;
    readonly runAsGroup: number;
    readonly seccompProfile: { readonly type: "RuntimeDefault" };
    readonly seLinuxOptions: unknown;
  };
  readonly hostNetwork: true;
  readonly automountServiceAccountToken: false;
  readonly [field: string]: unknown;
}

/** The directory of a pod's token; the lab's is in the node's /run, which /var/run is. */
const account = "/run/secrets/kubernetes.io/serviceaccount";

/** Fields that a runtime is not told of, or that a lab has nothing for. */
const notTheRuntimes = {
  pod: [
    ...["serviceAccountName", "dnsPolicy", "priorityClassName", "nodeSelector", "tolerations"],
    ...["terminationGracePeriodSeconds", "automountServiceAccountToken"],
  ],
  container: ["imagePullPolicy", "resources", "livenessProbe", "readinessProbe"],
};
const known = {
  pod: ["initContainers", "containers", "volumes", "securityContext", "hostNetwork"],
  container: ["name", "image", "args", "env", "securityContext", "volumeMounts"],
};

/** Makes a node one that podman runs in. */
export function prepareForContainers(node: Node): void {
  node.script([
    // A machine may have the other kind of control groups at its usual place.
    "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    // As systemd has it: what is mounted later reaches containers that ask for it.
    "mount --make-rshared /",
  ]);
}

/** Starts a container; `directory` is podman's. It ends with the lab at the latest. */
export function startContainer(
  node: Node,
  directory: string,
  spec: PodSpec,
  container: Container,
  options: RunOptions = {},
): Running {
  prepareDirectories(node, spec, container);
  const name = containerName(node, container);
  const run = ["--rm", "--name", name, "--runtime", "crun", "--cgroups=disabled", "--network", "host"];
  const command = [...podman(directory), "run", ...run, ...limits, ...translate(node, spec, container)];
  // The limit podman begins with is more than a container's.
  return node.start(["sh", "-c", 'ulimit -n 4096; exec "$@"', "sh", ...command], options);
}

/** Signals the container's first process; one that has ended is no failure. */
export function signalContainer(node: Node, directory: string, container: Container, signal: string): void {
  node.exec([...podman(directory), "kill", "--signal", signal, containerName(node, container)]);
}

/** Of its first process, as the node sees it; 0 where it does not run. */
export function containerPid(node: Node, directory: string, container: Container): number {
  const format = ["--format", "{{.State.Pid}}"];
  return Number(
    node.exec([...podman(directory), "inspect", ...format, containerName(node, container)]).stdout,
  );
}

function containerName(node: Node, { name }: Container): string {
  return `${node.name}-${name}`;
}

function translate(node: Node, spec: PodSpec, container: Container): string[] {
  refuseUnknown(spec, [...known.pod, ...notTheRuntimes.pod]);
  refuseUnknown(container, [...known.container, ...notTheRuntimes.container]);
  const { runAsUser, runAsGroup, seccompProfile } = spec.securityContext;
  const { capabilities, readOnlyRootFilesystem, allowPrivilegeEscalation } = container.securityContext;
  if (seccompProfile.type !== "RuntimeDefault")
    throw new Error("only the runtime's own filter is known here");
  return [
    ...["--user", `${runAsUser}:${runAsGroup}`],
    ...capabilities.drop.flatMap((right) => ["--cap-drop", right]),
    ...(capabilities.add ?? []).flatMap((right) => ["--cap-add", right]),
    ...(readOnlyRootFilesystem ? ["--read-only", "--read-only-tmpfs=false"] : []),
    ...(allowPrivilegeEscalation ? [] : ["--security-opt", "no-new-privileges"]),
    ...container.volumeMounts.flatMap((mount) => ["--volume", translateMount(spec, mount)]),
    ...environmentOf(node, container).flatMap((entry) => ["--env", entry]),
    ...[imageName, ...container.args],
  ];
}

function refuseUnknown(object: object, fields: readonly string[]): void {
  for (const field of Object.keys(object))
    if (!fields.includes(field)) throw new Error(`container.ts does not know what to do with "${field}"`);
}

function translateMount(
  { volumes }: PodSpec,
  { name, mountPath, readOnly, mountPropagation }: Mount,
): string {
  const volume = volumes.find((one) => one.name === name);
  if (volume === undefined) throw new Error(`there is no volume "${name}"`);
  const options = [readOnly ? "ro" : "rw", ...(mountPropagation === undefined ? [] : ["rslave"])];
  const path = volume.projected === undefined ? volume.hostPath?.path : account;
  return `${path}:${mountPath}:${options}`;
}

function environmentOf(node: Node, { env = [] }: Container): string[] {
  const cluster = [`KUBERNETES_SERVICE_HOST=${gateways[4]}`, "KUBERNETES_SERVICE_PORT=6443"];
  const own = env.map(({ name, valueFrom }) => {
    if (!Bun.deepEquals(valueFrom, { fieldRef: { fieldPath: "spec.nodeName" } }))
      throw new Error(`container.ts does not know the value of ${name}`);
    return `${name}=${node.name}`;
  });
  return [...cluster, ...own];
}

/** As the kubelet does. */
function prepareDirectories(node: Node, { volumes }: PodSpec, { volumeMounts }: Container): void {
  for (const { name, hostPath } of volumes) {
    if (hostPath === undefined || !volumeMounts.some((mount) => mount.name === name)) continue;
    node.must(hostPath.type === "Directory" ? ["test", "-d", hostPath.path] : ["mkdir", "-p", hostPath.path]);
  }
}
