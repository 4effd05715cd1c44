// A cluster as its administrator has it, with kubectl: the commands of the documents as they
// stand there, on a real API server and with the controller that makes the
// DaemonSet's pods.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findKubeAssets } from "../../scripts/kube-assets.ts";
import { meshesPath } from "../../src/kube/mesh.ts";
import { shellBlocks } from "../docs/support/pages.ts";
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
import { withApiServer } from "./support/with-api-server.ts";

const commandSeconds = 60;
const image = "REGISTRY/wg-cni:0.1.0";
const objects = readObjects(readFileSync(`${repository}/conf/wg-cni.yaml`, "utf8"));
const lastWord = (line: string) => line.slice(line.lastIndexOf(" ") + 1);
const daemonSetPath = pathOf(objects.find(({ kind }) => kind === "DaemonSet") as KubeObject);

/** The commands with kubectl of the page's only block that has `words`. */
function documentedCommands(page: string, words: string): string[] {
  const found = shellBlocks(page).filter(({ code }) => code.includes(words));
  expect(found, `blocks of ${page} with "${words}"`).toHaveLength(1);
  return found.flatMap(({ code }) => code.split("\n").filter((line) => line.includes("kubectl")));
}

describeKube("a cluster by kubectl", () => {
  const home = mkdtempSync(join(tmpdir(), "wg-cni-kubectl-"));
  const server = withApiServer(withLab("kubectl"));
  const nodes: KubeObject[] = [];

  beforeAll(async () => {
    mkdirSync(`${home}/bin`);
    symlinkSync(findKubeAssets()?.kubectl as string, `${home}/bin/kubectl`);
    writeFileSync(`${home}/kubeconfig`, adminKubeconfig(server));
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

  const [apply = "", wait = "", show = ""] = documentedCommands(
    "docs/install/kubernetes.md",
    "conf/wg-cni.yaml | kubectl apply",
  );

  test("one command installs, and each Linux node gets its pod, whatever taints it has", async () => {
    const created = await must(apply);
    expect(created.map(lastWord)).toEqual(objects.map(() => "created"));
    expect(await images()).toEqual([image, image]);
    await using _living = livePods(server.admin);
    expect((await must(wait)).at(-1)).toBe('daemon set "wg-cni" successfully rolled out');
    const pods = await agentPods(server.admin);
    expect(pods.map(nodeOf).toSorted()).toEqual(["plain", "tainted"]);
  });

  test("again it changes nothing, and there is no difference to see", async () => {
    expect((await must(apply)).map(lastWord)).toEqual(objects.map(() => "unchanged"));
    await must(apply.replace("kubectl apply", "kubectl diff"));
    const taint = "kubectl apply -f conf/kubernetes/startup-taint.yaml";
    const made = await must(taint);
    expect((await must(taint)).map(lastWord)).toEqual(made.map(() => "unchanged"));
    await must(taint.replace("apply", "delete"));
  });

  test("it shows the nodes' records, and explains every field", async () => {
    const [node] = nodes as [KubeObject];
    const slots = [{ slot: "a", publicKey: keyOf(1), port: 51820, state: "active" }];
    const spec = { slots, endpoints: ["192.0.2.1"], podCIDRs: ["10.244.1.0/24"] };
    await server.admin.apply(recordPath("plain"), recordObject(node, spec));
    const [head = "", row = ""] = await must(show);
    expect(head.split(/ {2,}/)).toEqual([
      ...["NAME", "STATE", "MODE", "ENCRYPTED", "PEERS", "KEY AGE", "ENDPOINT"],
    ]);
    expect(row).toMatch(/^plain .* 192\.0\.2\.1$/);
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
      const [leave = "", waitAgain = "", remove = ""] = documentedCommands(
        "docs/guides/uninstall.md",
        "conf/wg-cni-uninstall.yaml",
      );
      // As agents have: a definition that goes while its storage is opened for the first time stays, terminating.
      await waitUntil(async () => (await server.admin.send("GET", meshesPath)).ok, {
        what: "meshes being served",
      });
      const before = (await agentPods(server.admin)).map(({ metadata: { name } }) => name);
      expect(await must(leave)).toEqual(["daemonset.apps/wg-cni configured"]);
      expect(await images()).toEqual([image, image]);
      await using _living = livePods(server.admin);
      expect((await must(waitAgain)).at(-1)).toBe('daemon set "wg-cni" successfully rolled out');
      const pods = await agentPods(server.admin);
      expect(pods.map(nodeOf).toSorted()).toEqual(["plain", "tainted"]);
      for (const { metadata, spec } of pods as readonly KubeObject[]) {
        expect(before).not.toContain(metadata.name);
        expect(spec.containers[0].args).toContain("--leave");
      }
      expect(await must(remove)).toEqual(objects.map(() => expect.stringMatching(/ deleted( from .*)?$/)));
      const left = await Promise.all(objects.map((object) => server.admin.find(pathOf(object))));
      expect(left.filter((object) => object !== undefined)).toEqual([]);
    },
    5 * commandSeconds * 1000,
  );
});
