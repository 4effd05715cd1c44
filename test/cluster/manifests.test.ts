// The manifests of conf/ work on a real API server: one file that is applied
// as it is, a chart that Helm makes the same objects of, and a pod that needs what
// its manifest says and no more of the namespace.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findKubeAssets } from "../../scripts/kube-assets.ts";
import { repository } from "../lab/paths.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import type { KubeObject } from "./support/kube-client.ts";
import { pathOf, readManifest, readObjects } from "./support/manifests.ts";
import { namespace, serviceAccount } from "./support/nodes.ts";
import { refused } from "./support/rejected.ts";
import { withApiServer } from "./support/with-api-server.ts";

const read = (file: string) => readObjects(readFileSync(`${repository}/conf/${file}`, "utf8"));
const keyOf = ({ kind, metadata }: KubeObject) => `${kind} ${metadata.name}`;
const isDaemonSet = ({ kind }: KubeObject) => kind === "DaemonSet";
const home = mkdtempSync(join(tmpdir(), "wg-cni-helm-"));
afterAll(() => rmSync(home, { recursive: true }));
const strict = { manager: "kubectl", fieldValidation: "Strict" };

const chart = ["wg-cni", `${repository}/conf/chart`];
const template = ["template", ...chart, "--kube-version", "1.36.3"];

function helm(...words: readonly string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([findKubeAssets()?.helm ?? "helm", ...words], {
    // It keeps nothing in anybody's home.
    env: { HOME: home, PATH: "/usr/bin:/bin" },
    timeout: 60_000,
  });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Its standard output. Throws Error. */
function mustHelm(...words: readonly string[]): string {
  const { exitCode, stdout, stderr } = helm(...words);
  if (exitCode !== 0) throw new Error(`helm ${words.join(" ")}: ${stderr}`);
  return stdout;
}

function render(...words: readonly string[]): KubeObject[] {
  return readObjects(mustHelm(...template, ...words));
}

function renderPod(...words: readonly string[]) {
  return render(...words).find(isDaemonSet)?.["spec"].template.spec;
}

describeKube("manifests", () => {
  const server = withApiServer(withLab("manifests"));
  beforeAll(async () => {});

  test("the one file is applied in its order, and again without a change", async () => {
    const { admin } = server;
    const apply = async () => {
      const versions: (string | undefined)[] = [];
      for (const object of read("wg-cni.yaml")) {
        await admin.apply(pathOf(object), object, { ...strict, dryRun: true });
        versions.push((await admin.apply(pathOf(object), object, strict)).metadata.resourceVersion);
      }
      return versions;
    };
    await apply();
    // The server itself writes to what is new: names that are accepted, policies that are checked.
    await waitUntil(async () => Bun.deepEquals(await apply(), await apply()), {
      what: "the API server is done with what is new",
    });
  });

  test("applied in its place, the other file makes the same DaemonSet leave", async () => {
    const { admin } = server;
    const [leaving] = read("wg-cni-uninstall.yaml").filter(isDaemonSet) as [KubeObject];
    const before = await admin.get(pathOf(leaving));
    const after = await admin.apply(pathOf(leaving), leaving, strict);
    expect(after.metadata.uid).toBe(before.metadata.uid as string);
    const pod = after["spec"].template.spec;
    expect(pod.initContainers[0].args[0]).toBe("uninstall");
    expect(pod.containers[0].args).toContain("--leave");
    // And back.
    const [staying] = read("wg-cni.yaml").filter(isDaemonSet) as [KubeObject];
    const again = await admin.apply(pathOf(staying), staying, strict);
    expect(again["spec"].template).toEqual(before["spec"].template);
  });

  test("its pod is not for a namespace that asks for baseline, and is refused for what it says", async () => {
    const { admin } = server;
    const [{ spec }] = read("wg-cni.yaml").filter(isDaemonSet) as [KubeObject];
    const pod = {
      ...{ apiVersion: "v1", kind: "Pod", metadata: { generateName: "wg-cni-" } },
      spec: spec.template.spec,
    };
    for (const level of ["baseline", "privileged"]) {
      const labels = { "pod-security.kubernetes.io/enforce": level };
      await admin.create("/api/v1/namespaces", {
        ...{ apiVersion: "v1", kind: "Namespace", metadata: { name: level, labels } },
      });
      await admin.create(`/api/v1/namespaces/${level}/serviceaccounts`, {
        ...{ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: serviceAccount } },
      });
    }
    const refusal = await refused(admin.create("/api/v1/namespaces/baseline/pods", pod), "baseline");
    for (const words of ["host namespaces", "hostPath volumes", '"NET_ADMIN", "SYS_ADMIN"', "seLinuxOptions"])
      expect(refusal.message).toContain(words);
    expect(refusal.message).not.toMatch(/privileged|seccomp|procMount|hostPort/);
    const { metadata } = await admin.create("/api/v1/namespaces/privileged/pods", pod);
    expect(metadata.name).toStartWith("wg-cni-");
  });
});

describeKube("the chart", () => {
  test("has the objects of the one file; what defines the records outlives the release", () => {
    const rendered = new Map(render().map((object) => [keyOf(object), object]));
    const objects = read("wg-cni.yaml");
    expect([...rendered.keys()].sort()).toEqual(objects.map(keyOf).sort());
    for (const object of objects) {
      const kept = { "helm.sh/resource-policy": "keep" };
      const metadata = { ...object.metadata, annotations: kept };
      const isDefinition = object.kind === "CustomResourceDefinition";
      expect(rendered.get(keyOf(object)) as KubeObject).toEqual(
        isDefinition ? { ...object, metadata } : object,
      );
    }
  });

  test("with uninstall it has the DaemonSet that leaves", () => {
    expect(render("--set", "uninstall=true").filter(isDaemonSet)).toEqual(
      read("wg-cni-uninstall.yaml").filter(isDaemonSet),
    );
  });

  test("the start-up taint's right is there for who asks for it", () => {
    const names = (...words: string[]) =>
      render(...words)
        .filter(({ metadata }) => metadata.name === "wg-cni-startup-taint")
        .map(({ kind }) => kind);
    expect(names()).toEqual([]);
    expect(names("--set", "startupTaint.enabled=true").toSorted()).toEqual(
      readManifest("startup-taint")
        .map(({ kind }) => kind)
        .toSorted(),
    );
  });

  test("every value arrives where it belongs, quoted if it must be", () => {
    const values = {
      image: "registry.example:5000/wg-cni@sha256:0a",
      imagePullPolicy: "Always",
      imagePullSecrets: [{ name: "pull" }],
      binDir: "/home/kubernetes/bin",
      confDir: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
      initialMode: "off",
      podAddresses: "pods",
      clusterCIDRs: ["10.244.0.0/16", "fd00:10:244::/48"],
      keyRotation: "off",
      metricsAddress: "[::]:9999",
      logFormat: "json",
      extraArgs: ["--host-encryption=on", '--install-entry={"mtu": 1400}'],
      resources: { requests: { cpu: "1", memory: "1Gi" }, limits: { memory: "2Gi" } },
      nodeSelector: { "example.org/encrypted": "yes" },
      tolerations: [{ key: "a", operator: "Exists" }],
    };
    const file = join(home, "values.json");
    writeFileSync(file, JSON.stringify(values));
    const pod = renderPod("--values", file);
    const [install, agent] = [...pod.initContainers, ...pod.containers];
    expect(agent.args).toEqual([
      ...["agent", "--kubernetes", "--mode=off", "--pod-addresses=pods"],
      ...["--cluster-cidrs=10.244.0.0/16,fd00:10:244::/48", "--node-cidrs=default", "--key-rotation=off"],
      ...["--metrics-address=[::]:9999", "--log-format=json", ...values.extraArgs],
    ]);
    expect(install.args.slice(2)).toEqual([`--bin-dir=${values.binDir}`, `--conf-dir=${values.confDir}`]);
    for (const probe of ["livenessProbe", "readinessProbe"])
      expect(agent[probe].exec.command.slice(0, 2)).toEqual(["/wg-cni", "probe"]);
    for (const container of [install, agent]) {
      const { image, imagePullPolicy, resources, volumeMounts } = container;
      expect({ image, imagePullPolicy, resources }).toEqual({
        ...{ image: values.image, imagePullPolicy: "Always", resources: values.resources },
      });
      const paths = volumeMounts.map(({ mountPath }: { readonly mountPath: string }) => mountPath);
      expect(paths).toEqual(expect.arrayContaining([values.binDir, values.confDir]));
    }
    const { imagePullSecrets, nodeSelector, tolerations } = values;
    expect(pod).toMatchObject({ imagePullSecrets, nodeSelector, tolerations });
  });

  test("a value that there is not, or that cannot be right, is refused in words", () => {
    for (const [value, says] of [
      ["mode=strict", "additional properties 'mode' not allowed"],
      ["initialMode=strict", "at '/initialMode': value must be one of 'off', 'permissive'"],
      ["startupTaint.enable=true", "at '/startupTaint': additional properties 'enable' not allowed"],
      ["binDir=opt/cni/bin", "at '/binDir'"],
      ["metricsAddress=off", "at '/metricsAddress'"],
      ["keyRotation=soon", "at '/keyRotation'"],
      ["clusterCIDRs={10.0.0.0}", "at '/clusterCIDRs/0'"],
    ] as const) {
      const { exitCode, stderr } = helm(...template, "--set", value);
      expect({ value, exitCode }).toEqual({ value, exitCode: 1 });
      expect(stderr).toContain(says);
    }
  });

  test(`is in ${namespace} wherever the release is: the policies say so`, () => {
    const objects = render("--namespace", "elsewhere").filter(
      // The API server's own service is where it is.
      ({ metadata }) => metadata.namespace !== undefined && metadata.name !== "wg-cni-api-server",
    );
    expect(objects.map(({ metadata }) => metadata.namespace)).toEqual(objects.map(() => namespace));
  });
});
