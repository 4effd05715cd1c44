// How a test holds an API server: start, end, kill, start again; who reaches it;
// and that nothing of it is left.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { repository } from "../lab/paths.ts";
import { Service } from "../lab/service.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { KubeRefusal } from "./support/kube-client.ts";
import { createNode, nodesPath } from "./support/nodes.ts";
import { withApiServer } from "./support/with-api-server.ts";

describeKube("an API server in a lab", () => {
  const lab = withLab("kube");
  const server = withApiServer(lab);

  beforeAll(async () => {
    await createNode(server.admin, "n1", { internalIPs: ["192.0.2.1"] });
  });

  test("is of the version that is said to be built", async () => {
    const version = (await server.admin.get("/version")) as unknown as { readonly gitVersion: string };
    expect(version.gitVersion).toMatch(/^v1\.\d+\.\d+/);
  });

  test("admits clients with a certificate or a token, and no others", async () => {
    const nobody = server.client("not-a-token");
    expect(await nobody.get(nodesPath).catch((error) => error)).toMatchObject({ status: 401 });
    expect(await nobody.get(nodesPath).catch((error) => error)).toBeInstanceOf(KubeRefusal);
    expect((await server.admin.get(nodesPath))["items"]).toHaveLength(1);
  });

  test("is reached by the lab's nodes, by its address", async () => {
    const node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    const script = `process.stdout.write((await fetch("${server.nodeUrl}/version", { tls: { ca: await Bun.stdin.text() } })).status + "")`;
    const { ca } = server.admin.credentials;
    expect(node.must([process.execPath, "-e", script], { stdin: ca })).toMatch(/^(200|401)$/);
  });

  test("stopped or killed it does not answer; started again, it has what it had", async () => {
    for (const end of ["stop", "kill"] as const) {
      await server.server[end]();
      const answer = await server.admin.get("/version").catch((error: unknown) => error);
      expect(answer).toBeInstanceOf(Error);
      // A refusal would be an answer.
      expect(answer).not.toBeInstanceOf(KubeRefusal);
      await server.server.start();
      expect(await server.admin.get(`${nodesPath}/n1`)).toMatchObject({ metadata: { name: "n1" } });
    }
  });

  test("without its etcd it fails, and recovers when that is back", async () => {
    await server.etcd.kill();
    const isReady = async () => (await server.admin.send("GET", "/readyz")).ok;
    await waitUntil(async () => !(await isReady()), {
      what: "the server missing its etcd",
      timeoutMs: 60_000,
    });
    await server.etcd.start();
    await waitUntil(isReady, { what: "the server being ready with its etcd", timeoutMs: 60_000 });
    expect(await server.admin.get(`${nodesPath}/n1`)).toMatchObject({ metadata: { name: "n1" } });
  });

  test("that does not start is an error with what it said", async () => {
    const [program = ""] = server.server.command;
    const broken = new Service(lab.wire, [program, "--no-such-flag"], () => false);
    await expect(broken.start()).rejects.toThrow(/kube-apiserver --no-such-flag.*unknown flag/s);
  });

  test("ends with its test process, however that ends", async () => {
    const script = [
      `import { ApiServer } from "${import.meta.dir}/support/api-server.ts";`,
      `import { Lab } from "${repository}/test/lab/lab.ts";`,
      "const lab = await Lab.create();",
      "await ApiServer.create(lab);",
      "console.log(lab.sharedDirectory);",
      "await Bun.sleep(600_000);",
    ];
    const child = Bun.spawn([process.execPath, "-e", script.join("\n")], {
      stdout: "pipe",
      stderr: "inherit",
    });
    const { value } = await child.stdout.getReader().read();
    const directory = new TextDecoder().decode(value).trim();
    expect(processesWith(directory).length).toBeGreaterThanOrEqual(1);
    child.kill("SIGKILL");
    await child.exited;
    await waitUntil(() => processesWith(directory).length === 0, { what: "the processes ending" });
    await waitUntil(() => !existsSync(directory), { what: `${directory} going` });
  });
});

/** Processes that have a text in their command line. */
function processesWith(text: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
    } catch {
      return false;
    }
  });
}
