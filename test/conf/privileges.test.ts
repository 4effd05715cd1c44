// The rights of the DaemonSet on a node are exactly these, each with its purpose. A change that adds
// a right, a directory or a writable mount says so here and in
// docs/design/decisions/privileges.md.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../lab/paths.ts";

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}

interface Container {
  readonly name: string;
  readonly securityContext: {
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
    readonly [field: string]: unknown;
  };
  readonly volumeMounts: readonly Mount[];
}

interface Volume {
  readonly name: string;
  readonly hostPath?: { readonly path: string };
  readonly projected?: { readonly sources: readonly Record<string, Record<string, unknown>>[] };
}

interface PodSpec {
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly Volume[];
  readonly [field: string]: unknown;
}

const page = readFileSync(join(repository, "docs/design/decisions/privileges.md"), "utf8");

/** Capability of the agent -> what for, as the page has it. */
const capabilities: Record<string, string> = {
  NET_ADMIN: "links, routes, rules, nftables, WireGuard and sysctls below net",
  SYS_ADMIN: "entering pods' network namespaces, so that live pods follow the tunnel's MTU",
  SYS_NICE: "the plugin server's turn before the agent's own work",
};

/** Directory of the node -> who has it, and how. */
const directories: Record<string, { readonly install?: "rw" | "ro"; readonly agent?: "rw" | "ro" }> = {
  "/opt/cni/bin": { install: "rw", agent: "rw" },
  "/etc/cni/net.d": { install: "rw", agent: "rw" },
  "/var/lib/wg-cni": { install: "rw", agent: "rw" },
  "/etc/wg-cni": { agent: "rw" },
  "/run/netns": { agent: "ro" },
  "/proc/sys/net": { agent: "rw" },
  "/run/wireguard": { agent: "rw" },
};
/** The directory in which the plugin stays as long as its runtime calls it for its pods. */
const whileLeaving: typeof directories = { ...directories, "/run/crio": { install: "ro" } };

describe.each([
  ["conf/kubernetes/daemonset.yaml", directories],
  ["conf/wg-cni.yaml", directories],
  ["conf/wg-cni-uninstall.yaml", whileLeaving],
] as const)("%s", (file, expected) => {
  const objects = [Bun.YAML.parse(readFileSync(join(repository, file), "utf8"))].flat() as {
    readonly kind: string;
    readonly spec: { readonly template: { readonly spec: PodSpec } };
  }[];
  const spec = objects.find((object) => object?.kind === "DaemonSet")?.spec.template.spec as PodSpec;
  const [install, agent] = [...spec.initContainers, ...spec.containers] as [Container, Container];

  test("has two containers, and of the node's namespaces the network alone", () => {
    expect([...spec.initContainers, ...spec.containers].map(({ name }) => name)).toEqual([
      "install",
      "agent",
    ]);
    expect(spec).toMatchObject({
      hostNetwork: true,
      securityContext: { runAsUser: 0, runAsGroup: 0, seccompProfile: { type: "RuntimeDefault" } },
    });
    for (const field of ["hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"])
      expect(spec[field], field).toBeUndefined();
  });

  test("its containers have these rights and no others", () => {
    for (const { securityContext } of [install, agent]) {
      const { capabilities: _, ...rest } = securityContext;
      expect(rest).toEqual({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
    }
    expect(install.securityContext.capabilities).toEqual({ drop: ["ALL"] });
    expect(agent.securityContext.capabilities).toEqual({ drop: ["ALL"], add: Object.keys(capabilities) });
  });

  test("its containers have these directories of the node, and write to no others", () => {
    const used: Record<string, Record<string, string>> = {};
    for (const { name, volumeMounts } of [install, agent])
      for (const mount of volumeMounts) {
        const path = spec.volumes.find((volume) => volume.name === mount.name)?.hostPath?.path;
        if (path !== undefined) used[path] = { ...used[path], [name]: mount.readOnly ? "ro" : "rw" };
      }
    expect(used).toEqual(expected as typeof used);
    expect(
      spec.volumes
        .map(({ hostPath }) => hostPath?.path)
        .filter(Boolean)
        .sort(),
    ).toEqual(Object.keys(expected).sort());
  });

  test("only the agent has the token, which is good for an hour", () => {
    expect(spec["automountServiceAccountToken"]).toBe(false);
    const account = spec.volumes.filter(({ projected }) => projected !== undefined);
    expect(account.map(({ name }) => name)).toEqual(["account"]);
    const token = account[0]?.projected?.sources.find((source) => "serviceAccountToken" in source);
    // Of 3607 s, which the kubelet's own has, the API server makes a year.
    expect(token).toEqual({ serviceAccountToken: { path: "token", expirationSeconds: 3600 } });
    const holders = [install, agent].filter(({ volumeMounts }) =>
      volumeMounts.some((mount) => mount.name === "account"),
    );
    expect(holders.map(({ name }) => name)).toEqual(["agent"]);
    const mount = agent.volumeMounts.find(({ name }) => name === "account");
    expect(mount).toMatchObject({
      mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
      readOnly: true,
    });
  });
});

test("the page has each right and each directory, with its reason", () => {
  for (const [name, what] of Object.entries(capabilities)) {
    expect(page).toContain(`| \`${name}\` |`);
    expect(page).toContain(what);
  }
  for (const path of Object.keys(whileLeaving)) expect(page).toContain(`| \`${path}\` |`);
});
