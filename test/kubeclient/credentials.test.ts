// Tokens and certificates that are exchanged, expired or wrong: the source reads
// them again, and says what it cannot do meanwhile.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeCredentials } from "../../src/kubeclient/credentials.ts";
import { waitUntil } from "../lab/wait.ts";
import { FakeApi } from "../sources/fake-api.ts";
import { put, start } from "../sources/kube-context.ts";
import { KubeNode } from "../sources/kube-server.ts";

setDefaultTimeout(60_000);

describe("credentials", () => {
  test("a token that was exchanged is read again", async () => {
    await using context = await start();
    const { api, node, watch } = context;
    api.token = "token-2";
    api.writeKubeconfig();
    watch.cut();
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(api.count("list")).toBe(1);
    expect(node.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  test("one that has expired keeps the peers and is said, until there is another", async () => {
    await using context = await start();
    const { api, node, watch } = context;
    api.token = "token-2";
    watch.cut();
    await node.until("it is known", () => node.look().problem !== undefined);
    expect(node.look().problem).toContain("(401): Unauthorized");
    expect(node.names).toBe("node-1 node-2");
    put(api, 3);
    api.writeKubeconfig();
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    // The watch of the Node may rest a little longer.
    await node.until("it has passed", () => node.look().problem === undefined);
  });

  test("an authority that was exchanged is read again, also while the file has both", async () => {
    await using context = await start();
    const { api, node } = context;
    await api.down();
    api.exchangeAuthority();
    await api.up();
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(api.count("list")).toBe(1);
  });

  test("a server with a certificate of another authority is refused", async () => {
    await using context = await start();
    const { api, node } = context;
    await api.down();
    const before = await Bun.file(api.caFile).text();
    api.exchangeAuthority();
    await Bun.write(api.caFile, before);
    const seen = api.seen.length;
    await api.up();
    // While there was no server at all, that was the problem.
    const isOfCertificate = () => /certificate|SELF_SIGNED|UNABLE_TO/i.test(node.look().problem ?? "");
    await node.until("it is known", isOfCertificate);
    expect(api.seen).toHaveLength(seen);
    expect(node.names).toBe("node-1 node-2");
  });

  test.each([
    [
      "a program that gives a token",
      (token: string) => ({
        exec: {
          apiVersion: "client.authentication.k8s.io/v1",
          command: "/bin/sh",
          args: ["-c", `echo '{"kind":"ExecCredential","status":{"token":"${token}"}}'`],
        },
      }),
    ],
    ["a token in the file", (token: string) => ({ token })],
  ])("may come from %s", async (_, user) => {
    await using api = await FakeApi.start();
    put(api, 1);
    api.writeKubeconfig(user(api.token));
    using node = new KubeNode(api);
    await node.until("node-1 is a peer", () => node.names === "node-1");
  });

  test.each([
    [
      "a file that is not there",
      () => "/nowhere/kubeconfig",
      /from the kubeconfig \/nowhere\/kubeconfig: .*ENOENT/,
    ],
    ["a service account outside of a pod", () => "in-cluster", /This is no pod of a cluster/],
    [
      "a file without a context",
      (api: FakeApi) => {
        writeFileSync(api.kubeconfig, '{"clusters":[],"users":[],"contexts":[]}');
        return api.kubeconfig;
      },
      /no current context/,
    ],
    [
      "a file that is none",
      (api: FakeApi) => {
        writeFileSync(api.kubeconfig, "{");
        return api.kubeconfig;
      },
      /Cannot get the credentials/,
    ],
    [
      "a server without encryption",
      (api: FakeApi) => {
        writeFileSync(api.kubeconfig, readFileSync(api.kubeconfig, "utf8").replace("https:", "http:"));
        return api.kubeconfig;
      },
      /is not reached by https/,
    ],
  ])("%s is said", async (_, place, expected) => {
    await using api = await FakeApi.start();
    using node = new KubeNode(api);
    const path = place(api);
    await waitUntil(() => node.look(path).problem, { what: "a problem" });
    expect(node.look(path).problem).toMatch(expected);
  });
});

test("a pipe, a device or a huge file in the place of the kubeconfig is refused, and not waited for", async () => {
  const directory = mkdtempSync(join(tmpdir(), "wgt-kubeconfig-"));
  const path = join(directory, "config");
  for (const make of [
    `mkfifo ${path}`,
    `ln -s /dev/zero ${path}`,
    `truncate -s 1G ${path}`,
    `mkdir ${path}`,
  ]) {
    Bun.spawnSync(["sh", "-c", make]);
    await expect(new KubeCredentials(path, {}).read()).rejects.toThrow(/is no regular file of at most/);
    rmSync(path, { recursive: true });
  }
  rmSync(directory, { recursive: true });
});
