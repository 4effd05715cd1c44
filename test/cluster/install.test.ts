// A cluster as its administrator has it, with kubectl and with Helm: the commands of the documents
// as they stand there, on a real API server and with the controller that makes the
// DaemonSet's pods.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findKubeAssets } from "../../scripts/kube-assets.ts";
import { meshesPath } from "../../src/kube/mesh-object.ts";
import { DocumentedBlocks } from "../docs/support/documented.ts";
import { keyOf } from "../kernel/support/mesh-reference.ts";
import { repository } from "../lab/paths.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import type { KubeObject } from "./support/kube-client.ts";
import { adminKubeconfig } from "./support/kubeconfig.ts";
import { pathOf, readObjects } from "./support/manifests.ts";
import { createNode, nodesPath, recordObject, recordPath } from "./support/nodes.ts";
import { agentPods, livePods, nodeOf } from "./support/pod-life.ts";
import { unrefused } from "./support/rejected.ts";
import { withApiServer } from "./support/with-api-server.ts";

const commandSeconds = 60;
const image = "REGISTRY/wg-cni:0.1.0";
const objects = readObjects(readFileSync(`${repository}/conf/wg-cni.yaml`, "utf8"));
const lastWord = (line: string) => line.slice(line.lastIndexOf(" ") + 1);
const taintPolicy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/wg-cni-startup-taint";
const daemonSetPath = pathOf(objects.find(({ kind }) => kind === "DaemonSet") as KubeObject);

/** Stands in for podman: there is no registry, and daemonset.test.ts builds the image of the same file. */
const podman = `#!/bin/sh
case "$*" in
  "build -f conf/Containerfile -t ${image} ." | "push ${image}") ;;
  *) echo "this podman does not know: $*" >&2; exit 1 ;;
esac
`;

describeKube("a cluster by kubectl and Helm", () => {
  const documented = new DocumentedBlocks(import.meta.path);
  const home = mkdtempSync(join(tmpdir(), "wg-cni-kubectl-"));
  const server = withApiServer(withLab("kubectl"));
  const nodes: KubeObject[] = [];

  beforeAll(async () => {
    mkdirSync(`${home}/bin`);
    for (const name of ["kubectl", "helm"] as const)
      symlinkSync(findKubeAssets()?.[name] as string, `${home}/bin/${name}`);
    writeFileSync(`${home}/bin/podman`, podman, { mode: 0o755 });
    writeFileSync(`${home}/kubeconfig`, adminKubeconfig(server), { mode: 0o600 });
    const { admin } = server;
    const label = (name: string, labels: object) =>
      admin.patch(`${nodesPath}/${name}`, { metadata: { labels } });
    for (const name of ["plain", "tainted", "windows"]) {
      nodes.push(await createNode(admin, name, { internalIPs: [`192.0.2.${nodes.length + 1}`] }));
      await label(name, { "kubernetes.io/os": name === "windows" ? "windows" : "linux" });
    }
    const taints = [
      { key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" },
      { key: "node.kubernetes.io/not-ready", effect: "NoExecute" },
      { key: "wg-cni.dev/agent-not-ready", effect: "NoSchedule" },
    ];
    await admin.patch(`${nodesPath}/tainted`, { spec: { taints, unschedulable: true } });
    await server.controllers.start();
  });
  afterAll(() => rmSync(home, { recursive: true }));

  async function run(command: string) {
    // All that the shell starts ends with it.
    const child = Bun.spawn(["timeout", `${commandSeconds}`, "sh", "-euc", command], {
      cwd: repository,
      // It keeps nothing in anybody's home.
      env: { HOME: home, KUBECONFIG: `${home}/kubeconfig`, PATH: `${home}/bin:/usr/bin:/bin` },
      ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { exitCode: await child.exited, lines: stdout.trimEnd().split("\n"), stderr };
  }
  /** Its lines; it warns of nothing. */
  async function must(command: string): Promise<string[]> {
    const { lines, ...rest } = await run(command);
    expect({ command, lines: rest.exitCode === 0 ? [] : lines, ...rest }).toEqual({
      ...{ command, lines: [], exitCode: 0, stderr: "" },
    });
    return lines;
  }
  const images = async () => {
    const { initContainers, containers } = (await server.admin.get(daemonSetPath))["spec"].template.spec;
    return [...initContainers, ...containers].map((one: { readonly image: string }) => one.image);
  };

  const agentArgs = async () =>
    (await server.admin.get(daemonSetPath))["spec"].template.spec.containers[0].args as string[];
  /** Follows the DaemonSet's pods: `wait` is the documented command. */
  async function rollOut(wait: string): Promise<readonly KubeObject[]> {
    await using _living = livePods(server.admin);
    expect((await must(wait)).at(-1)).toBe('daemon set "wg-cni" successfully rolled out');
    const pods = await agentPods(server.admin);
    expect(pods.map(nodeOf).toSorted()).toEqual(["plain", "tainted"]);
    return pods;
  }
  /** A record, as the agent of a node publishes it. */
  async function publish(): Promise<void> {
    const slots = [{ slot: "a", publicKey: keyOf(1), port: 51820, state: "active" }];
    const spec = { slots, endpoints: ["192.0.2.1"], podCIDRs: ["10.244.1.0/24"] };
    const apply = () => server.admin.apply(recordPath("plain"), recordObject(nodes[0] as KubeObject, spec));
    // A policy whose kind of parameters was just defined refuses everything for a moment.
    await unrefused(apply, "not yet synced to use for admission");
  }
  /** As an agent writes it about a record of which it takes a part. */
  const refuseClaim = () =>
    server.admin.create("/apis/events.k8s.io/v1/namespaces/kube-system/events", {
      ...{ apiVersion: "events.k8s.io/v1", kind: "Event", metadata: { generateName: "plain-" } },
      ...{ eventTime: new Date().toISOString().replace("Z", "000Z"), type: "Warning", note: "a sentence" },
      ...{ reason: "ClaimRefused", action: "Refuse", reportingController: "wg-cni", reportingInstance: "n1" },
      regarding: { apiVersion: "wg-cni.dev/v1alpha1", kind: "WireGuardNode", name: "plain" },
    });
  /** As agents have: a definition that goes while its storage is opened for the first time stays, terminating. */
  const meshesServed = () =>
    waitUntil(async () => (await server.admin.send("GET", meshesPath)).ok, { what: "meshes being served" });

  const [build = "", apply = "", wait = "", show = ""] = documented.take(
    "docs/install/kubernetes.md",
    "conf/wg-cni.yaml | kubectl apply",
  );

  test("one command installs, and each Linux node gets its pod, whatever taints it has", async () => {
    await must(build);
    const created = await must(apply);
    expect(created.map(lastWord)).toEqual(objects.map(() => "created"));
    expect(await images()).toEqual([image, image]);
    await rollOut(wait);
  });

  test("again it changes nothing, and there is no difference to see", async () => {
    expect((await must(apply)).map(lastWord)).toEqual(objects.map(() => "unchanged"));
    await must(apply.replace("kubectl apply", "kubectl diff"));
    const [taint = ""] = documented.take("docs/guides/rollout.md", "startup-taint.yaml");
    const made = await must(taint);
    expect((await must(taint)).map(lastWord)).toEqual(made.map(() => "unchanged"));
    await must(taint.replace("apply", "delete"));
  });

  test("it shows the nodes' records, and explains every field", async () => {
    await publish();
    const [head = "", row = ""] = await must(show);
    expect(head.split(/ {2,}/)).toEqual([
      ...["NAME", "STATE", "MODE", "ENCRYPTED", "PEERS", "KEY AGE", "ENDPOINT"],
    ]);
    expect(row).toMatch(/^plain .* 192\.0\.2\.1$/);
    const [wide = "", events = ""] = documented.take("docs/install/kubernetes.md", "-o wide");
    const [wideHead = "", wideRow = ""] = await must(wide);
    expect(wideHead).toStartWith(head.trimEnd());
    expect(wideHead).toEndWith("MESSAGE");
    expect(wideRow).toStartWith(row);
    await refuseClaim();
    expect(await must(events)).toEqual([
      expect.any(String),
      expect.stringMatching(/ ClaimRefused .*\/plain /),
    ]);
    for (const what of [
      ...["wireguardnode.spec", "wireguardnode.spec.slots"],
      ...["wireguardnode.status", "wireguardnode.status.conditions", "wireguardmesh.spec"],
    ]) {
      const text = (await must(`kubectl explain ${what}`)).join("\n");
      expect(text).toContain("FIELDS:");
      expect(text).not.toContain("<no description>");
    }
  });

  test(
    "and gets rid of it: the DaemonSet that leaves, of the same image, then nothing is left",
    async () => {
      const [leave = "", waitAgain = "", remove = "", removeTaint = ""] = documented.take(
        "docs/guides/uninstall.md",
        "conf/wg-cni-uninstall.yaml",
      );
      await must("kubectl apply -f conf/kubernetes/startup-taint.yaml");
      await meshesServed();
      const before = (await agentPods(server.admin)).map(({ metadata: { name } }) => name);
      expect(await must(leave)).toEqual(["daemonset.apps/wg-cni configured"]);
      expect(await images()).toEqual([image, image]);
      for (const { metadata, spec } of await rollOut(waitAgain)) {
        expect(before).not.toContain(metadata.name);
        expect(spec.containers[0].args).toContain("--leave");
      }
      expect(await must(remove)).toEqual(objects.map(() => expect.stringMatching(/ deleted( from .*)?$/)));
      const left = await Promise.all(objects.map((object) => server.admin.find(pathOf(object))));
      expect(left.filter((object) => object !== undefined)).toEqual([]);
      // Left behind, they would be in the way of the chart, which has objects of the same names.
      await must(removeTaint);
      expect(await server.admin.find(taintPolicy)).toBeUndefined();
      await must(removeTaint);
    },
    5 * commandSeconds * 1000,
  );

  test(
    "with Helm it is installed, made one that leaves, and uninstalled; the records' definition stays",
    async () => {
      const [install = ""] = documented.take("docs/install/kubernetes.md", "helm install");
      const readme = documented.take("README.md", "helm install");
      const [leave = "", waitAgain = "", remove = ""] = documented.take(
        "docs/guides/uninstall.md",
        "helm upgrade",
      );
      expect(readme.slice(0, 2)).toEqual([build, install]);
      await must(install);
      expect(await images()).toEqual([image, image]);
      expect(await agentArgs()).not.toContain("--leave");
      const [, , waitFirst = "", showAgain = ""] = readme;
      await rollOut(waitFirst);
      await publish();
      expect((await must(showAgain))[1]).toMatch(/^plain /);
      await meshesServed();
      // Values that were chosen are there after the documented upgrade, too.
      const release = "helm upgrade wg-cni conf/chart -n kube-system --reuse-values --set";
      await must(`${release} initialMode=off,startupTaint.enabled=true`);
      expect(await server.admin.find(taintPolicy)).toBeDefined();
      await must(leave);
      expect(await agentArgs()).toEqual(expect.arrayContaining(["--leave", "--mode=off"]));
      await rollOut(waitAgain);
      await must(`${release} uninstall=false`);
      expect(await agentArgs()).not.toContain("--leave");
      await must(remove);
      const left = await Promise.all(
        objects.map(async (object) => (await server.admin.find(pathOf(object)))?.kind),
      );
      expect(left.filter((kind) => kind !== undefined)).toEqual([
        "CustomResourceDefinition",
        "CustomResourceDefinition",
      ]);
      expect(await server.admin.find(taintPolicy)).toBeUndefined();
    },
    8 * commandSeconds * 1000,
  );

  test("every documented block that names this test has been run", () => expect(documented.left).toEqual([]));
});
